"""The committed rows, by env, and the tables beside them: what `imagoal report` shows when nothing is named."""
