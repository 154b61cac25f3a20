"""`python -m vlm2vec_cli` is the command `vlm2vec`."""

from vlm2vec_cli.app import run

if __name__ == "__main__":  # not in processes that multiprocessing spawns
    run()
