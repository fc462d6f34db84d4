"""Discrete VAEs: images, and every figure of a log, whatever the architecture of the model."""

from typing import NamedTuple

import keras
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._keras_options import checked_arguments
from tfdvae._validation import positive_count, positive_integer
from tfdvae.latents import Trace, draws
from tfdvae.models.bounds import ELBO_ARGUMENTS, BoundedModel
from tfdvae.models.logged import BoundMeans
from tfdvae.objectives import Elbo
from tfdvae.objectives.vimco import multi_sample_bound

_STEPS_OF_ONE_LOG_Z = 100  # of `train_on_batch`, which knows no epochs


class Decoded(NamedTuple):
    """Images given latents, `[batch, height, width, channels]`.

    Attributes:
      images: samples of the pixels.
      means: means of the pixels; with a conditional decoder, each given the samples of the coarser scales.
    """

    images: tf.Tensor
    means: tf.Tensor


class DiscreteVAE(BoundedModel):
    """Base class of the models: a `BoundedModel` with images, that `fit` trains.

    What is logged, in nats an image: `reconstruction`, `kl`, `elbo`, their difference, and `loss`, minus the
    bound with the factor of the KL and the weight decay; in `fit` of the smoothed model, in `evaluate` of the
    binary one, with `multi_sample_bound` too where an objective such as `VIMCO` trains the bound of several
    samples. All but the first contain log Z of the Boltzmann machine. It is measured before `fit` and
    `evaluate` and at the end of each epoch, whose figures hold the mean of log Z before and after it; while
    an epoch runs, those of the progress bar hold the one before. `log_partition_error` is its standard error.
    Where log Z could not be measured, these figures are NaN. A KL below 0, which an old or too small log Z
    would give, is logged as 0, and as NaN if it is below -1.

    Args:
      image_shape: `(height, width, channels)`.
      seed: base seed of everything random in training and evaluation through Keras.
    """

    def _elbo_arguments(self) -> dict:
        """The arguments of the bound that is trained by default."""
        return {}

    @property
    def default_objective(self) -> Elbo:
        """What `compile` takes where it is given none."""
        return Elbo(**self._elbo_arguments())

    def _finish_init(self):
        super()._finish_init()
        self._logs_are_rough = False
        self._bound_means = BoundMeans()
        rows = keras.Variable(
            0, dtype="int64", trainable=False, name="predicted_rows", aggregation="only_first_replica"
        )
        self._predicted_rows = lambda: rows  # behind a function, for it is no weight

    def parameter_groups(self) -> dict[str, list]:
        """The trainable variables by name of group: `"prior"`, `"networks"`, and `"objective"`, what an
        objective itself learns.
        """
        prior, objective = (
            [] if layer is None else list(layer.trainable_variables)
            for layer in (self.prior, self.objective_layer)
        )
        ids = {id(v) for v in prior + objective}
        networks = [v for v in self.trainable_variables if id(v) not in ids]
        return {"networks": networks, "prior": prior} | ({"objective": objective} if objective else {})

    def compile(self, optimizer="adam", objective=None, group_optimizers=None, **kwargs):
        """As `TrainedModel.compile`; the groups are those of `parameter_groups`."""
        super().compile(optimizer, objective, group_optimizers, **kwargs)

    def scheduled_values(self) -> dict[str, float]:
        """What follows a schedule at the present step: values of the objective and of the smoothing.

        Raises:
          ValueError: if one is out of its range there.
        """
        values = super().scheduled_values()
        if self.smoothing is not None:
            self.smoothing.check(self.step)
            values |= {name: float(v) for name, v in self.smoothing.parameter(self.step).items()}
        return values

    # --- images ---

    @property
    def max_pixel(self) -> float:
        """The value of a white pixel."""
        return self.pixels.max_value

    def encode(self, x, *, seed):
        """One sample of the latents for each image; binary ones in {0, 1}."""
        return self.structured(self.posterior_trace(x, seed=seed).values)

    def _prior_trace(self, num_samples, *, seed, num_sweeps, chains=None, given=None) -> Trace:
        seeds, values = self._seeds_of_fields(seed, "sample_prior"), dict(given or {})
        if self.rbm is not None:
            held = {i: values[i] for i in values if i < len(self.prior.latent_units)}
            if len(held) < len(self.prior.latent_units):
                start = self.negative_phase if chains is None else chains
                drawn = self.prior.sample(
                    num_samples, seed=seeds[0], start=start, num_sweeps=num_sweeps, given=held
                )
                values |= dict(enumerate(drawn))
        return self.trace(None, draws.Prior(self._seeds_of_groups(seeds), num_samples, values))

    def sample_prior(self, num_samples, *, seed, num_sweeps=200, chains=None, given=None):
        """Latents from the prior; see `sample`."""
        num_samples = positive_count("num_samples", num_samples)
        num_sweeps = positive_count("num_sweeps", num_sweeps)
        given = self._given(given, num_samples)
        trace = self._prior_trace(num_samples, seed=seed, num_sweeps=num_sweeps, chains=chains, given=given)
        return self.structured(trace.values)

    def sample(self, num_samples, *, seed, mean=False, num_sweeps=200, chains=None, given=None) -> tf.Tensor:
        """Images from the prior: samples, or means of the pixels.

        Args:
          num_samples: number of images.
          seed: of latents and pixels.
          mean: whether to give means of the pixels; see `Decoded`.
          num_sweeps: Gibbs sweeps of the Boltzmann machine.
          chains: where these begin, an object with `start(num_samples, seed=)` as a negative phase has; by
            default the model's negative phase.
          given: latents that are held, in the structure of `latent_shapes`, with `None` for groups that are
            to be drawn; in a Boltzmann machine the others are drawn given them. In a directed prior groups
            know the values of earlier ones alone.

        Returns:
          `[num_samples, height, width, channels]`.
        """
        num_samples = positive_integer("num_samples", num_samples)
        num_sweeps = positive_integer("num_sweeps", num_sweeps)
        seed_prior, seed_x = random.split(seed, salt="sample")
        given = self._given(given, num_samples)
        trace = self._prior_trace(
            num_samples, seed=seed_prior, num_sweeps=num_sweeps, chains=chains, given=given
        )
        return self._pictures(trace, seed_x, mean)

    @property
    def has_global_latents(self) -> bool:
        """Whether the first of several fields of `latent_shapes` has groups, for `sample_by_global`."""
        return len(self.latent_shapes) > 1 and len(self.latent_shapes[0]) > 0

    def sample_by_global(self, num_global, per_global, *, seed, mean=False, num_sweeps=200) -> tf.Tensor:
        """Images as in figure 4 of DVAE++: `per_global` successive ones share a sample of the global latents,
        the first field of `latent_shapes`.

        One `seed` serves all images: they are no rows of their own.

        Returns:
          `[num_global * per_global, height, width, channels]`.

        Raises:
          ValueError: if the model has no global latents, a number is not positive, or `seed` is not one.
        """
        if not self.has_global_latents:
            raise ValueError(f"{self.name!r} has no global latents beside others to hold fixed")
        num_global = positive_integer("num_global", num_global)
        per_global = positive_integer("per_global", per_global)
        num_sweeps = positive_integer("num_sweeps", num_sweeps)
        seed_global, seed_local, seed_x = random.split(random.as_seed(seed), 3, salt="sample_by_global")
        groups = self.sample_prior(num_global, seed=seed_global, num_sweeps=num_sweeps)[0]
        free = [[None] * len(field) for field in self.latent_shapes[1:]]
        given = [[tf.repeat(group, per_global, axis=0) for group in groups], *free]
        latents = self.sample_prior(
            num_global * per_global, seed=seed_local, given=given, num_sweeps=num_sweeps
        )
        return self.decode(latents, seed=seed_x, mean=mean)

    def _given(self, given, num_samples) -> dict[int, tf.Tensor]:
        """Values of groups by their numbers, as `[num_samples, ...]`."""
        if given is None:
            return {}
        shapes = [shape for field in self.latent_shapes for shape in field]
        values = [value for field in given for value in field]
        if len(values) != len(shapes):
            raise ValueError(
                f"`given` must have a value or None for each of the {len(shapes)} groups, in the structure "
                f"{self.latent_shapes}. Received: {len(values)} values"
            )
        return {
            i: tf.broadcast_to(tf.cast(value, tf.float32), [num_samples, *shape])
            for i, (value, shape) in enumerate(zip(values, shapes, strict=True))
            if value is not None
        }

    def _pictures(self, trace, seed, mean):
        decoded = self.generate(trace, seed=seed)
        return decoded.means if mean else decoded.images

    def decode(self, latents, *, seed, mean=False) -> tf.Tensor:
        """Images given latents, `[batch, height, width, channels]`: samples, or means of the pixels.

        With a conditional decoder and `mean`, those given samples of the coarser scales.
        """
        return self._pictures(self.trace(None, draws.Given(self._flat(latents))), seed, mean)

    def reconstruct(self, x, *, seed, mean=False) -> tf.Tensor:
        """Images decoded from one posterior sample: samples, or means of the pixels."""
        seed_q, seed_x = random.split(seed, salt="reconstruct")
        return self._pictures(self.posterior_trace(x, seed=seed_q), seed_x, mean)

    def call(self, x, training=False):
        """Mean reconstructions from one posterior sample, seeded by the model's own seed and the row."""
        del training
        return self.reconstruct(x, seed=self._seeds_of_rows(0, tf.shape(x)[0]), mean=True)

    def _seeds_of_rows(self, first, count) -> tf.Tensor:
        """Seeds of `count` rows of a data set from row `first` on, for `call` and `predict`."""
        seed = tf.broadcast_to(random.split(self.seed, 1, salt="call")[0], [count, 2])
        return random.fold_in(seed, first + tf.range(count))

    # --- steps, besides that of a training ---

    def test_step(self, data):
        """The single-sample bound in the binary limit, without annealing; `loss` is minus the bound.

        With an objective that trains the bound of several samples, `multi_sample_bound` is that bound.
        """
        x = self._checked_batch(data)
        # The number of examples seen so far counts the batches: no state of its own.
        counter = tf.cast(self._bound_means.count, tf.int32)
        seed = self._replica_seed(counter, "test_step")
        num_samples = getattr(self.objective, "bound_samples", None)

        def figures(x, seed):
            terms = self.bound_terms(x, self.draw("binary", seed=seed))
            reconstruction, kl = numerics.mean_or_zero(terms.reconstruction), numerics.mean_or_zero(terms.kl)
            values = {
                "loss": kl - reconstruction,
                "log_partition_factor": 1.0,
                "reconstruction": reconstruction,
                "kl": kl,
                "weight_decay": 0.0,
            }
            if num_samples is not None:
                bound = multi_sample_bound(self.log_weights(x, num_samples, seed=seed))
                values["multi_sample_bound"] = numerics.mean_or_zero(bound)
            return values

        return self._logged(self._through_xla(figures)(x, seed), tf.shape(x)[0])

    def predict_step(self, data):
        """What `call` makes of the images, whatever the batches that they come in."""
        x = self._checked_batch(data)
        context, rows = tf.distribute.get_replica_context(), self._predicted_rows()
        counts = tf.one_hot(context.replica_id_in_sync_group, context.num_replicas_in_sync, dtype=tf.int64)
        counts = context.all_reduce(tf.distribute.ReduceOp.SUM, counts * tf.shape(x, tf.int64)[0])
        first = rows + tf.cumsum(counts, exclusive=True)[context.replica_id_in_sync_group]
        seeds = self._seeds_of_rows(tf.cast(first, tf.int32), tf.shape(x)[0])
        rows.assign_add(tf.reduce_sum(counts))
        return self._through_xla(lambda x, seeds: self.reconstruct(x, seed=seeds, mean=True))(x, seeds)

    # --- what is logged ---

    @property
    def metrics(self):
        """The running means behind what `fit` and `evaluate` report."""
        return list(self._bound_means.means.values())

    def reset_metrics(self):
        """Empties the running means."""
        super().reset_metrics()
        self._bound_means.reset()

    def _logged(self, figures, count):
        names = self._bound_means.update(figures, count)
        return self._means(names, None if self.rbm is None else self.stored_log_partition.value_tensor)

    def _means(self, names, log_z):
        error = None if log_z is None else self.stored_log_partition.standard_error_tensor
        return self._bound_means.result(names, log_z, error)

    def get_metrics_result(self):
        """What `fit` and `evaluate` report at their end, with log Z of the weights that it is about.

        In an epoch of a training these have moved: log Z is then measured anew, and the mean of the values
        before and after is that of an epoch, to second order.
        """
        names = self._bound_means.names
        if self.rbm is None:
            return self._means(names, None)
        stored = self.stored_log_partition
        log_z = stored.value_tensor
        if not stored.is_fresh:
            self.update_log_partition(seed=self.seed, cheap=self._logs_are_rough)
            new = stored.value_tensor
            log_z = 0.5 * (log_z + new) if tf.math.is_finite(log_z) else new
        step = int(self.step.numpy())
        log_z = self._bound_means.possible(log_z, stored.standard_error_tensor, step)
        return self._means(names, log_z)

    def fit(self, *args, **kwargs):
        """As `TrainedModel.fit`; log Z is that of the final weights at its end."""
        arguments = checked_arguments(self, keras.Model.fit, *args, **kwargs)
        self._refresh_log_partition()
        # Validation compares epochs: it wants the better estimate.
        validates = arguments.get("validation_data") is not None or arguments.get("validation_split")
        self._logs_are_rough = not validates
        history = super().fit(**arguments)
        self._refresh_log_partition()
        return history

    def train_on_batch(self, *args, **kwargs):
        """As `TrainedModel.train_on_batch`; log Z in the logs is measured anew every 100 updates."""
        stored = self.stored_log_partition
        if stored is not None and (
            stored.is_empty or int(self.step.numpy()) >= stored.step + _STEPS_OF_ONE_LOG_Z
        ):
            self.update_log_partition(seed=self.seed, cheap=True)
        return super().train_on_batch(*args, **kwargs)

    def predict(self, *args, **kwargs):
        """As `TrainedModel.predict`: row i of the result is that of `model(x)`, whatever `batch_size` is."""
        self._predicted_rows().assign(0)
        return super().predict(*args, **kwargs)

    def predict_on_batch(self, x):
        """As `TrainedModel.predict_on_batch`."""
        self._predicted_rows().assign(0)
        return super().predict_on_batch(x)

    # --- files ---

    @classmethod
    def from_config(cls, config):
        """Builds the model from `get_config`'s result.

        In older files the arguments of `Elbo` are among those of the model.
        """
        config = dict(config)
        for name, value in config.items():
            if isinstance(value, dict) and "class_name" in value:
                config[name] = keras.saving.deserialize_keras_object(value)
        moved = {name: config.pop(name) for name in ELBO_ARGUMENTS if name in config}
        model = cls(**config)
        if moved:
            model._elbo_arguments = lambda: moved
        return model
