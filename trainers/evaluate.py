"""Evaluates the best checkpoint of a workdir on the whole test split, in the binary limit.

    python -m trainers.evaluate --workdir=runs/digits

Prints the figures and writes report.json, samples.png, reconstructions.png and, of a DVAE++,
samples_by_global.png, of a PixelVAE++ samples_by_latents.png and reconstructions_by_image.png into the
workdir. The best checkpoint is the one with the highest bound on the
validation split; see `trainers.train` for what the config's `evaluation` section may change.
"""

from absl import flags

from tfdvae import callbacks
from tfdvae.evaluation import (
    LikelihoodReport,
    RaiseCheck,
    check_by_raise,
    evaluate_likelihood,
    measure_log_partition,
)
from tfdvae.files import user_path, write_json
from trainers import experiment, pictures, program

LIMITS = {"binary": "binary limit", "smoothed": "relaxed model (no figure of the binary one)"}


def evaluate(config, model, workdir, data_dir=None, verbose=1, num_samples=None) -> LikelihoodReport:
    """Measures log Z and the likelihood of a trained model, writes the report and the pictures."""
    workdir, c = user_path(workdir, "workdir"), config.evaluation
    dataset = experiment.load(config, c.split, data_dir)
    estimate = update_log_partition(config, model)
    report = evaluate_likelihood(
        model,
        dataset,
        num_samples or c.num_samples,
        seed=config.seed,
        log_partition=estimate,
        limit=c.limit,
        verbose=verbose,
    )
    check = checked_by_raise(config, model, dataset, estimate)
    more = {} if check is None else {"raise": check.to_dict()}
    write_json(workdir / "report.json", experiment.report(config, model, report, **more))
    images = next(iter(dataset.unbatch().batch(pictures.IMAGES)))
    pictures.save_all(workdir, model, images, seed=config.seed, verbose=verbose)
    print(summary(config, report, check))
    return report


def checked_by_raise(config, model, dataset, estimate) -> RaiseCheck | None:
    """The check of the first images that the config asks for."""
    c = config.evaluation
    if not c.raise_images or model.rbm is None:
        return None
    return check_by_raise(
        model,
        next(iter(dataset.unbatch().batch(c.raise_images))),
        c.raise_samples,
        seed=config.seed,
        log_partition=estimate,
        num_temperatures=c.raise_temperatures,
    )


def update_log_partition(config, model):
    """Measures log Z as the config says and stores it; `None` where the prior is normalized."""
    if model.rbm is None:
        return None
    c = config.evaluation
    return model.update_log_partition(
        measure_log_partition(
            model.rbm,
            seed=config.seed,
            num_chains=c.log_partition_chains,
            num_temperatures=c.log_partition_temperatures,
            num_ladders=c.tempering_ladders,
            num_sweeps=c.tempering_sweeps,
            chains=getattr(model.negative_phase, "left", None),
        )
    )


def summary(config, report, check=None) -> str:
    """The figures in words."""
    log_z = report.log_partition
    by_group = ", ".join(f"{k:.3f}" for k in report.kl_per_group)
    lines = [
        f"{config.data.name}, {config.evaluation.split} split, {report.num_examples} images, "
        f"{report.num_samples} importance samples, {LIMITS[report.limit]} (nats an image):",
        f"  log-likelihood  {report.log_likelihood:9.3f} +- {report.standard_error:.3f} "
        "(standard error over images)",
        f"  ELBO            {report.elbo:9.3f}",
        f"  KL              {sum(report.kl_per_group):9.3f}  by group: {by_group}",
        f"  log Z           {log_z.value:9.3f} +- {log_z.standard_error:.3f} ({_described(log_z)})",
        f"  active units    {' + '.join(map(str, report.active_units))}",
        f"  bits per dim    {report.bits_per_dim:9.4f}",
    ]
    lines += [f"  warning: {warning}" for warning in log_z.warnings]
    if report.caveat:
        lines.append(f"  caveat: {report.caveat}")
    if check is not None:
        lines.append(
            f"  RAISE           {check.by_raise.mean():9.3f} on {len(check.by_raise)} images, by log Z "
            f"{check.by_log_partition.mean():.3f}: {check.difference:.3f} +- {check.standard_error:.3f}"
        )
        if check.warning:
            lines.append(f"  warning: {check.warning}")
    return "\n".join(lines)


def _described(log_z):
    """The method, the two sides of a bracket with what they are, and what speaks against it."""
    method, samples = log_z.diagnostics["method"], log_z.effective_sample_size
    if method != "bracket":
        words = [method]
    else:
        words = [
            f"between {log_z.lower:.3f} (stochastic lower bound) and {log_z.upper:.3f} ({log_z.upper_kind})"
        ]
    if samples is not None:
        words.append(f"{samples:.0f} effective samples")
    if not log_z.trustworthy:
        words.append("not to be trusted")
    return ", ".join(words)


def load_model(workdir):
    """Returns the config and the best model of a workdir.

    Raises:
      FileNotFoundError: if the workdir holds no config or no checkpoint.
    """
    config = experiment.read_config(workdir)
    model = experiment.model(config, data_dir=False)
    experiment.compile_model(model, config)
    callbacks.TrainingCheckpoint(user_path(workdir, "workdir") / "checkpoints").load_best(model)
    return config, model


def define_flags(values: flags.FlagValues) -> None:
    """Defines the program's flags."""
    flags.DEFINE_string("workdir", None, "The workdir of a training run.", required=True, flag_values=values)
    flags.DEFINE_string(
        "data_dir", None, "Directory of the publishers' files (not needed for digits).", flag_values=values
    )
    flags.DEFINE_integer(
        "num_samples",
        None,
        "Importance samples; by default those of the config.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer("verbose", 1, "0: the figures alone, 1: a progress bar too.", flag_values=values)


def main(values: flags.FlagValues) -> None:
    """Evaluates as the flags say."""
    config, model = load_model(values.workdir)
    evaluate(config, model, values.workdir, values.data_dir, values.verbose, values.num_samples)


if __name__ == "__main__":
    program.run(main, define_flags)
