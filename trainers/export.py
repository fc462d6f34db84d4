"""Exports the best checkpoint of a workdir as a SavedModel, the next version of a generator.

    python -m trainers.export --workdir=runs/digits --out=exported/digits

Writes `OUT/<next integer>/`, all at once: the SavedModel with its signatures, model_card.json with the
figures of the workdir's report.json (if it was evaluated), samples.png drawn from the exported generator, and
what TF Serving reads (warm-up requests, batching_params.pbtxt). models.config beside OUT lists all generators
there.
"""

import json
import pathlib

from absl import flags

from tfdvae import data, export
from tfdvae.export import layout
from tfdvae.files import user_path, write_atomically
from trainers import evaluate, pictures, program

_FIGURES = (
    "log_likelihood",
    "standard_error",
    "log_likelihood_lower",
    "log_likelihood_upper",
    "elbo",
    "bits_per_dim",
    "num_examples",
    "num_samples",
    "limit",
)


def export_workdir(workdir, out, **options) -> pathlib.Path:
    """Exports the best model of a workdir; returns the directory of the version."""
    workdir, out = user_path(workdir, "workdir"), user_path(out, "out")
    config, model = evaluate.load_model(workdir)
    evaluate.update_log_partition(config, model)
    facts = data.info(config.data.name)
    card = {
        "data": {
            "name": config.data.name,
            "title": facts.title,
            "source": facts.source_url,
            "license": facts.license,
            "caveat": facts.caveat,
        },
        "experiment": json.loads(config.to_json_best_effort()),
        "figures": _figures(workdir / "report.json", config, model),
        "max_pixel": model.max_pixel,
    }

    def write_picture(path):
        generator = export.load_generator(path)
        pictures.save_grid(path / "samples.png", generator.sample(64), columns=8, vmax=model.max_pixel)

    version = export.export_generator(model, out, card=card, write_extras=write_picture, **options)
    parent = out.resolve().parent
    text = layout.models_config(layout.generators(parent))
    write_atomically(parent / "models.config", lambda name: pathlib.Path(name).write_text(text))
    return version


def _figures(path, config, model):
    """Of the report, if it is one of this checkpoint."""
    if not path.is_file():
        return None
    report = json.loads(path.read_text())
    if report["step"] != int(model.step):
        return None
    return {"split": config.evaluation.split, **{name: report["evaluation"][name] for name in _FIGURES}}


def define_flags(values: flags.FlagValues) -> None:
    """Defines the program's flags."""
    flags.DEFINE_string("workdir", None, "The workdir of a training run.", required=True, flag_values=values)
    flags.DEFINE_string("out", None, "The generator's directory.", required=True, flag_values=values)
    for name, default, text in (
        ("num_samples", 100, "Importance samples of the signature log_prob."),
        ("max_sweeps", 1_000, "The most Gibbs sweeps that a sample may ask for."),
        ("bank_states", 1_000, "States of the Boltzmann machine from which samples start."),
        ("bank_sweeps", 1_000, "Gibbs sweeps of each of them."),
    ):
        flags.DEFINE_integer(name, default, text, lower_bound=1, flag_values=values)


def main(values: flags.FlagValues) -> None:
    """Exports, and says where and how large."""
    names = ("num_samples", "max_sweeps", "bank_states", "bank_sweeps")
    version = export_workdir(values.workdir, values.out, **{name: values[name].value for name in names})
    found = export.audit(version)
    print(
        f"{version}: {found.file_bytes / 1e6:.2f} MB, of which variables {found.variable_bytes / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    program.run(main, define_flags)
