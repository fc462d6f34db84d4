"""Do samples look like digits? A classifier trained on the digits is asked how sure it is.

    python -m benchmarks.digits_samples --workdir=runs/digits

Prints the classifier's accuracy on the test images, and the share of samples on which it is confident
(largest class probability above 0.8), beside those of the test images and of noise with the mean image's
pixel probabilities.
"""

import argparse

import numpy as np
from sklearn.linear_model import LogisticRegression

from tfdvae import data
from trainers import evaluate

CONFIDENT = 0.8


def labelled(split, name="digits", data_dir=None):
    """All images of a split as rows, binarized at half intensity, and their labels."""
    batches = data.load(name, split, 250, data_dir, "threshold", with_labels=True, shuffle=False)
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    images = np.concatenate(images)
    return images.reshape(len(images), -1), np.concatenate(labels)


def main():
    """Prints the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="of a training run on the digits")
    parser.add_argument("--num_samples", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train, labels = labelled("train")
    test, test_labels = labelled("test")
    classifier = LogisticRegression(max_iter=3000).fit(train, labels)
    _, model = evaluate.load_model(arguments.workdir)
    samples = model.sample(arguments.num_samples, seed=arguments.seed).numpy().reshape(-1, train.shape[1])
    noise = np.random.default_rng(arguments.seed).random(samples.shape) < train.mean(axis=0)
    print(f"accuracy on test images: {classifier.score(test, test_labels):.3f}")
    for name, images in (("test images", test), ("samples", samples), ("noise", noise.astype("float32"))):
        share = np.mean(classifier.predict_proba(images).max(axis=1) > CONFIDENT)
        print(f"confident on {share:.3f} of the {len(images)} {name}")
    counts = np.bincount(classifier.predict(samples), minlength=10)
    print(f"samples by class: {counts.tolist()}")


if __name__ == "__main__":
    main()
