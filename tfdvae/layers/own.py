"""Networks of a user's in the place of the library's: their shapes, and axes that they need not know of."""

import keras
import tensorflow as tf

from tfdvae.layers.residual import ResidualStack


@keras.saving.register_keras_serializable(package="tfdvae")
class OwnNetwork(keras.layers.Layer):
    """Any Keras layer or model, applied to tensors with any number of leading axes.

    Evaluation draws many samples of the latents for each image, which are a new first axis. The network sees
    them as one batch.

    Args:
      network: the layer or model, of one tensor `[batch, ...]`.
      input_shapes: the shapes of the inputs without the batch; they differ in the last axis alone, along
        which the network sees them one after the other.
      what: the argument that it was given as, for messages.
      output_size: numbers that it must yield for each place of the batch, or `None` for any.
      output_words: what these are, for the message.

    Attributes:
      output_shape_of_one: the shape of what it yields, without the batch.

    Raises:
      ValueError: if it is no layer, does not take these shapes, or yields others.
    """

    def __init__(self, network, input_shapes, what, output_size=None, output_words="", **kwargs):
        super().__init__(**kwargs)
        if not isinstance(network, keras.layers.Layer):
            raise ValueError(f"`{what}` must be a Keras layer or model. Received: {what}={network!r}")
        self.network = network
        *place, _ = input_shapes[0]
        self.input_shape_of_one = (*place, sum(shape[-1] for shape in input_shapes))
        try:
            output = network(tf.zeros([2, *self.input_shape_of_one]))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise ValueError(
                f"`{what}` must take a tensor [batch, {', '.join(map(str, self.input_shape_of_one))}]. "
                f"Received: {network.name}, which says: {error}"
            ) from error
        shape = tuple(getattr(output, "shape", ()))
        if shape[:1] != (2,) or len(shape) < 2:
            raise ValueError(
                f"`{what}` must yield one tensor [batch, ...]. Received: {network.name}, which yields "
                f"{shape} for a batch of 2"
            )
        self.output_shape_of_one = shape[1:]
        size = tf.TensorShape(shape[1:]).num_elements()
        if output_size is not None and size != output_size:
            raise ValueError(
                f"`{what}` must yield {output_words}, {output_size} numbers for each image. Received: "
                f"{network.name}, which yields {self.output_shape_of_one}, {size} numbers"
            )
        self.built = True

    def call(self, inputs, training=False):
        """What the network makes of a list of tensors `[..., *input_shape]`."""
        x = tf.concat(inputs, axis=-1)
        rows = tf.reshape(x, [-1, *self.input_shape_of_one])
        output = tf.cast(self.network(rows, training=training), tf.float32)
        leading = tf.shape(x)[: x.shape.rank - len(self.input_shape_of_one)]
        return tf.reshape(output, tf.concat([leading, self.output_shape_of_one], axis=0))

    @property
    def output_shape_of_images(self) -> tuple[int, int, int]:
        """The shape of its images.

        Raises:
          ValueError: if it yields none.
        """
        if len(self.output_shape_of_one) != 3:
            raise ValueError(
                f"`{self.name}` must yield images [batch, height, width, channels]. Received: "
                f"{self.network.name}, which yields {self.output_shape_of_one}"
            )
        return self.output_shape_of_one


def residual_or_own(name, blocks, shapes, sizes, residual):
    """The network `name`: residual blocks, or a layer of the user's.

    Args:
      name: of the argument and of the network.
      blocks: a row of blocks (see `residual`), or a layer.
      shapes: of the inputs, without the batch.
      sizes: the sizes that blocks go through.
      residual: keyword arguments of `ResidualStack`.
    """
    if isinstance(blocks, str):
        return ResidualStack(shapes, blocks, sizes, name=name, **residual)
    return OwnNetwork(blocks, shapes, name, name=name)
