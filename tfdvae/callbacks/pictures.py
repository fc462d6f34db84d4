"""Images in TensorBoard."""

import keras
import tensorflow as tf

from tfdvae._validation import positive_integer
from tfdvae.files import user_path


class ImageGrids(keras.callbacks.Callback):
    """Shows samples and reconstructions in TensorBoard every `every_epochs` epochs, and at the end of `fit`.

    Args:
      tensorboard_dir: where to write events.
      images: a batch of images to reconstruct.
      every_epochs: how often.
      num_images: images in each grid.
    """

    def __init__(self, tensorboard_dir, images, every_epochs=10, num_images=16):
        super().__init__()
        self.tensorboard_dir = str(user_path(tensorboard_dir, "tensorboard_dir"))
        self.every_epochs = positive_integer("every_epochs", every_epochs)
        self.num_images = positive_integer("num_images", num_images)
        self.images = images[: self.num_images]
        self._writer = None

    def on_train_begin(self, logs=None):
        """Opens the event file."""
        self._writer = tf.summary.create_file_writer(self.tensorboard_dir)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the grids."""
        if (epoch + 1) % self.every_epochs and epoch + 1 != self.params.get("epochs"):
            return
        step = int(self.model.step.numpy())
        with self._writer.as_default(step=step):
            pairs = [self.images, self.model.reconstruct(self.images, seed=step, mean=True)]
            for name, images in (
                ("samples", self.model.sample(self.num_images, seed=step, mean=True)),
                ("reconstructions", tf.concat(pairs, axis=2)),
            ):
                tf.summary.image(name, images / self.model.max_pixel, max_outputs=self.num_images)
        self._writer.flush()

    def on_train_end(self, logs=None):
        """Closes the event file."""
        self._writer.close()
