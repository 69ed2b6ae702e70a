"""One Push episode to an image goal with the shipped world model, timed, by another planner than the preset's."""

import imagoal

if __name__ == "__main__":
    env = imagoal.make("push")
    agent = imagoal.make_agent("mpc", env, world_model="Push-latent", planner="icem")
    print(agent)
    print(imagoal.evaluate(agent, env, tasks="dev", count=1))
