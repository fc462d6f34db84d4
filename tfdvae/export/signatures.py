"""The graph of a trained generator: what a server runs.

A server merges the rows of many requests into one batch and adds rows to fill it. So every input and output
has the batch as dimension 0, and row i of each output depends on row i of the inputs alone: random numbers
come from the row's own seed, and a row that is not valid gives NaN and leaves the others as they are. A
single row is computed beside a copy of itself, for products with one row go another way in the framework.
"""

import math

import keras
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann import GibbsState, gibbs_sweeps
from tfdvae.boltzmann.chains import random_members, replicas
from tfdvae.latents import draws
from tfdvae.models import DiscreteVAE

DEFAULT = "serving_default"


class ChainBank(tf.Module):
    """States of the left side of a Boltzmann machine, uint8 `[states, left]`, where its samples start."""

    def __init__(self, left):
        super().__init__(name="chain_bank")
        self.left = tf.Variable(tf.cast(left, tf.uint8), trainable=False, name="left")

    def start(self, num_samples, *, seed) -> tf.Tensor:
        """Random members, as a negative phase gives them."""
        return random_members(self.left, num_samples, seed=seed)


def make_chain_bank(model: DiscreteVAE, num_states: int, num_sweeps: int, *, seed) -> ChainBank:
    """Runs chains of a model's Boltzmann machine, and keeps their last states.

    Args:
      model: the trained model, with a negative phase.
      num_states: number of chains, at least 1.
      num_sweeps: Gibbs sweeps of each, from where the model's negative phase says.
      seed: of the starts and the sweeps.
    """
    num_states = positive_integer("num_states", num_states)
    seed_start, seed_sweeps = random.split(seed, salt="chain_bank")
    left = model.negative_phase.start(num_states, seed=seed_start)
    state = GibbsState(left, tf.zeros([num_states, model.rbm.right_units]))
    return ChainBank(gibbs_sweeps(model.rbm.parameters, state, num_sweeps, seed=seed_sweeps).left)


class PackedWeights:
    """A copy of Keras variables, one after the other in one variable, float32 `[n]`.

    A graph names each variable in every function that needs it, and once more in the function that needs
    that one; hundreds of small ones would take more bytes of the file than their values.

    Raises:
      ValueError: if one is not float32.
    """

    def __init__(self, variables):
        self._variables = list(variables)
        for v in self._variables:
            if v.dtype != "float32":
                raise ValueError(f"Weights of a generator must be float32. Received: {v.path} of {v.dtype}")
        self._shapes = [tuple(v.shape) for v in self._variables]
        values = [tf.reshape(v, [-1]) for v in self._variables]
        self.values = tf.Variable(tf.concat(values, axis=0), trainable=False, name="weights")
        # A function of the graph: exported once, and not in each function that reads weights.
        spec = tf.TensorSpec(self.values.shape, self.values.dtype)
        self._unpacked = tf.function(self._unpack, input_signature=[spec], autograph=False)

    def _unpack(self, values):
        parts = tf.split(values, [math.prod(shape) for shape in self._shapes])
        return [
            part if len(shape) == 1 else tf.reshape(part, shape)
            for part, shape in zip(parts, self._shapes, strict=True)
        ]

    def scope(self):
        """A context in which Keras reads the values from here."""
        return keras.StatelessScope(list(zip(self._variables, self._unpacked(self.values), strict=True)))


class GeneratorSignatures:
    """The signatures of a model, as functions of tensors, with the weights that it has at the construction.

    Shapes: `images` and `means` float32 `[B, height, width, channels]`, images in {0, 1} or 0..255,
    means those of the pixels (of a mixture of logistics: the location of the likeliest component;
    of a conditional decoder: given the samples of the coarser scales); `latents` float32 `[B, variables]`,
    all groups one after the other, binary ones in {0, 1}; `logits` float32 `[B, binary variables]`, those of
    q for the binary groups; `log_likelihood`, `elbo` and `energy` float32 `[B]`, nats; `seed` int32 `[B, 2]`;
    `num_sweeps` int32 `[B]`, clamped to `[1, max_sweeps]` (no part in models without a Boltzmann machine).

    Args:
      model: the trained model; its log Z must be fresh.
      num_samples: importance samples of `log_prob`.
      max_sweeps: the most Gibbs sweeps that a sample may ask for.
      chain_bank: where the chains of the Boltzmann machine start; `None` without a machine.
    """

    def __init__(self, model: DiscreteVAE, num_samples: int, max_sweeps: int, chain_bank):
        self.model = model
        self.num_samples = positive_integer("num_samples", num_samples)
        self.max_sweeps = positive_integer("max_sweeps", max_sweeps)
        self.chain_bank = chain_bank
        self.log_z = model.resolve_log_partition(None).value
        self._shapes = [tuple(shape) for field in model.latent_shapes for shape in field]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        blank = tf.zeros([1, *model.image_shape])
        self._laws = [group.q for group in model.posterior_trace(blank, seed=0).groups]
        self.num_latents = sum(self._sizes)
        self._images = images = tf.TensorSpec([None, *model.image_shape], tf.float32, "images")
        self._latents = latents = tf.TensorSpec([None, self.num_latents], tf.float32, "latents")
        self._seed = seed = tf.TensorSpec([None, 2], tf.int32, "seed")
        self._num_sweeps = num_sweeps = tf.TensorSpec([None], tf.int32, "num_sweeps")
        seeds = tf.TensorSpec([None, None, 2], tf.int32, "seeds")
        self.weights = PackedWeights(_read_by(self._log_weights, [images, seeds], model.variables))
        # All that reads weights. The signatures share these functions: each network is exported once.
        self._prior = self._function(self._from_prior, [seed, num_sweeps])
        self._decoder = self._function(self._decoded, [latents, seed])
        self._encoder = self._function(self._encoded, [images, seed])
        self._importance = self._function(self._log_weights, [images, seeds])
        self._machine = self._function(self._energies, [latents])

    def functions(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """The signatures by name, with fixed names, dtypes and shapes of their inputs."""
        images, latents, seed = self._images, self._latents, self._seed
        functions = {
            "sample": (self.sample, [seed, self._num_sweeps]),
            "decode": (self.decode, [latents, seed]),
            "encode": (self.encode, [images, seed]),
            "reconstruct": (self.reconstruct, [images, seed]),
            "log_prob": (self.log_prob, [images, seed]),
        }
        if self.model.rbm is not None:
            functions["energy"] = (self.energy, [latents])
        return {
            name: tf.function(function, input_signature=specs, autograph=False)
            for name, (function, specs) in functions.items()
        }

    # --- the signatures ---

    def sample(self, seed, num_sweeps) -> dict[str, tf.Tensor]:
        """Images from the prior: those of `model.sample(B, seed=seed, chains=chain_bank)`."""

        def rows(seed, num_sweeps):
            seed_prior, seed_x = random.split(seed, salt="sample")
            latents = self._prior(seed_prior, num_sweeps)
            return {**self._decoder(latents, seed_x), "latents": latents}

        return _with_a_second_row(rows, seed, num_sweeps)

    def decode(self, latents, seed) -> dict[str, tf.Tensor]:
        """Images given latents; NaN where a binary one is neither 0 nor 1, or any is not finite or so large
        that the means are not.
        """

        def rows(latents, seed):
            valid = self._valid_latents(latents)
            outputs = self._decoder(_where(valid, latents, 0.0), seed)
            finite = tf.math.is_finite(tf.reduce_sum(outputs["means"], axis=[1, 2, 3]))
            return _nan_unless(valid & finite, outputs)

        return _with_a_second_row(rows, latents, seed)

    def encode(self, images, seed) -> dict[str, tf.Tensor]:
        """A sample of q(latents | image), and the logits of the binary ones given the groups before."""

        def rows(images, seed):
            valid, images = self._valid_images(images)
            return _nan_unless(valid, self._encoder(images, seed))

        return _with_a_second_row(rows, images, seed)

    def reconstruct(self, images, seed) -> dict[str, tf.Tensor]:
        """Images decoded from one sample of q: those of `model.reconstruct`."""

        def rows(images, seed):
            valid, images = self._valid_images(images)
            seed_q, seed_x = random.split(seed, salt="reconstruct")
            latents = self._encoder(images, seed_q)["latents"]
            return _nan_unless(valid, self._decoder(latents, seed_x))

        return _with_a_second_row(rows, images, seed)

    def log_prob(self, images, seed) -> dict[str, tf.Tensor]:
        """Importance-weighted log p(x) with `num_samples` samples, and their mean bound; nats, `[B]`."""

        def rows(images, seed):
            valid, images = self._valid_images(images)
            log_likelihood, elbo = self._bounds(images, seed)
            outputs = {"log_likelihood": log_likelihood - self.log_z, "elbo": elbo - self.log_z}
            return _nan_unless(valid, outputs)

        return _with_a_second_row(rows, images, seed)

    def energy(self, latents) -> dict[str, tf.Tensor]:
        """E(z) of the Boltzmann machine's variables, in nats, `[B]`."""

        def rows(latents):
            valid = self._valid_latents(latents)
            return _nan_unless(valid, {"energy": self._machine(_where(valid, latents, 0.0))})

        return _with_a_second_row(rows, latents)

    # --- their parts ---

    def _function(self, function, input_signature):
        """A function of the graph that reads the packed weights."""

        def with_weights(*inputs):
            with self.weights.scope():
                return function(*inputs)

        return tf.function(with_weights, input_signature=input_signature, autograph=False)

    def _from_prior(self, seed, num_sweeps):
        latents = self.model.sample_prior(
            tf.shape(seed)[0],
            seed=seed,
            num_sweeps=tf.clip_by_value(num_sweeps, 1, self.max_sweeps),
            chains=self.chain_bank,
        )
        return _concatenated([value for field in latents for value in field])

    def _energies(self, latents):
        prior = self.model.prior
        return prior.energy(self._groups(latents)[: len(prior.latent_units)])

    def _log_weights(self, images, seeds):
        return self.model.log_weights(images, tf.shape(seeds)[0], seed=seeds)

    def _decoded(self, latents, seed):
        decoded = self.model.generate(self.model.trace(None, draws.Given(self._groups(latents))), seed=seed)
        return {"images": decoded.images, "means": decoded.means}

    def _encoded(self, images, seed):
        trace = self.model.posterior_trace(images, seed=seed)
        outputs = {"latents": _concatenated(trace.values)}
        logits = [group.q.logits for group in trace.groups if group.q.logits is not None]
        if logits:
            outputs["logits"] = _concatenated(logits)
        return outputs

    def _bounds(self, images, seed):
        """log-mean-exp and mean of the unnormalized log-weights, a few samples at a time."""
        few = max(1, self.model.importance_rows // 128)
        few = max(n for n in range(1, few + 1) if self.num_samples % n == 0)

        def body(i, largest, total, mean):
            seeds = random.sample_seeds(seed, few, first=few * i)
            log_weights = self._importance(images, seeds)
            new = tf.maximum(largest, tf.reduce_max(log_weights, axis=0))
            # The first maximum is -inf: the total that it scales is 0.
            total = tf.math.multiply_no_nan(tf.exp(largest - new), total)
            total += tf.reduce_sum(tf.exp(log_weights - new), axis=0)
            return i + 1, new, total, mean + tf.reduce_mean(log_weights, axis=0)

        zeros = tf.zeros([tf.shape(images)[0]])
        chunks = self.num_samples // few
        _, largest, total, mean = tf.while_loop(
            lambda i, *_: i < chunks, body, (0, zeros - math.inf, zeros, zeros), parallel_iterations=1
        )
        return largest + tf.math.log(total / self.num_samples), mean / chunks

    def _valid_images(self, images):
        """Which rows are images, and the images with zeros in the others."""
        valid = tf.vectorized_map(self.model.pixels.are_valid, images)
        return valid, _where(valid, images, 0.0)

    def _valid_latents(self, latents):
        groups = zip(tf.split(latents, self._sizes, axis=-1), self._laws, strict=True)
        valid = [law.is_valid(v) for v, law in groups]
        return tf.reduce_all(tf.concat(valid, axis=-1), axis=-1)

    def _groups(self, flat):
        """The groups of `latents`."""
        groups = zip(tf.split(flat, self._sizes, axis=-1), self._shapes, strict=True)
        return [tf.reshape(v, [-1, *shape]) for v, shape in groups]


def _read_by(function, input_signature, variables):
    """Those of the Keras variables that the function reads."""
    traced = tf.function(function, input_signature=input_signature, autograph=False)
    read = {id(v) for v in traced.get_concrete_function().variables}
    return [v for v in variables if any(id(replica) in read for replica in replicas(v))]


def _with_a_second_row(rows, *inputs):
    """Calls `rows` on at least two rows: of a batch of one, on the row and a copy of it."""
    count = tf.shape(inputs[0])[0]
    missing = tf.maximum(2 - count, 0)
    outputs = rows(*(tf.concat([x, x[:missing]], axis=0) for x in inputs))
    return {name: value[:count] for name, value in outputs.items()}


def _concatenated(groups):
    return tf.concat([tf.reshape(v, [-1, math.prod(v.shape[1:])]) for v in groups], axis=-1)


def _where(valid, values, other):
    return tf.where(tf.reshape(valid, [-1] + [1] * (values.shape.rank - 1)), values, other)


def _nan_unless(valid, outputs):
    return {name: _where(valid, value, math.nan) for name, value in outputs.items()}
