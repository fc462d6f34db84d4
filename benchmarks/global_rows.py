"""Do images with the same global latents share a class? As figure 4 of DVAE++, measured by a classifier.

    python -m benchmarks.global_rows --workdir=runs/digits [--workdir=...]
    python -m benchmarks.global_rows --workdir=runs/mnist --labels=dynamic_mnist --data_dir=DIRECTORY

For each workdir: rows of five pictures (means of the pixels, as in `samples_by_global.png`) from one sample
of the global latents each; the share of pairs within a row that a classifier puts into one class, and the
share of rows in which at least four of five agree, beside the same of rows drawn freely from the model. The
classifier is a logistic regression, trained on at most 20,000 labelled images.
"""

import argparse

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.digits_samples import labelled
from trainers import evaluate

PER_ROW = 5


def agreement(classes):
    """Share of equal pairs within rows, and of rows in which four of five agree; `classes [rows, 5]`."""
    pairs = classes[:, :, np.newaxis] == classes[:, np.newaxis, :]
    largest = np.array([np.bincount(row, minlength=10).max() for row in classes])
    count = classes.shape[1]
    return (pairs.sum(axis=(1, 2)) - count).mean() / (count * (count - 1)), np.mean(largest >= count - 1)


def main():
    """Prints a row for each workdir."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", action="append", required=True, help="of a training run")
    parser.add_argument("--labels", default="digits", help="data set from which the classifier learns")
    parser.add_argument("--data_dir", help="directory of the publishers' files")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train, labels = labelled("train", arguments.labels, arguments.data_dir)
    classifier = LogisticRegression(max_iter=3000).fit(train[:20_000], labels[:20_000])
    test = labelled("test", arguments.labels, arguments.data_dir)
    print(f"accuracy on test images: {classifier.score(*test):.3f}")
    print("                              pairs of one class   rows with 4 of 5")
    for workdir in arguments.workdir:
        _, model = evaluate.load_model(workdir)
        count = arguments.rows * PER_ROW
        drawn = {
            "fixed global latents": model.sample_by_global(
                arguments.rows, PER_ROW, seed=arguments.seed, mean=True
            ),
            "free": model.sample(count, seed=arguments.seed, mean=True),
        }
        print(f"{workdir} (global prior: {model.global_prior})")
        for name, images in drawn.items():
            classes = classifier.predict(images.numpy().reshape(count, -1)).reshape(-1, PER_ROW)
            pairs, rows = agreement(classes)
            print(f"  {name:28}{pairs:18.3f}{rows:19.3f}")


if __name__ == "__main__":
    main()
