"""Why an agent fails: the audit's gaps, offline regret, and the diagnosis of an encoder."""

from imagoal.eval.explain._audit import Audit, audit
from imagoal.eval.explain._audit_gaps import audit_text
from imagoal.eval.explain._audit_rows import ROWS, AuditSetting
from imagoal.eval.explain._diagnose import Figure, diagnose, verdict
from imagoal.eval.explain._regret import (
    COLUMNS,
    LEARNED,
    TRUE,
    Score,
    check_sequences,
    imagine_ends,
    score_sources,
    sentence,
    true_latents,
)
from imagoal.eval.explain._sequences import Design, load_sequences, make_sequences

__all__ = [
    "COLUMNS", "LEARNED", "ROWS", "TRUE", "Audit", "AuditSetting", "Design", "Figure", "Score", "audit", "audit_text",
    "check_sequences", "diagnose", "imagine_ends", "load_sequences", "make_sequences", "score_sources", "sentence",
    "true_latents", "verdict",
]  # fmt: skip
