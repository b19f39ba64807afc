"""gunshot train-verifier: the second opinion, from what the pipeline made."""

from gunshot.cli.app import app


@app.command()
def train_verifier() -> None:
    """Train the verifier, a larger network that gives a second opinion of what the detector let through.

    After `dvc repro`, and anew whenever that made another detector. It learns from the detector's incidents in training
    recordings and streams, right and false, with the network's trunk and a head of its own that hears 2.4 s; its
    threshold is chosen on validation streams. Takes 75 s of CPU, which is why `dvc repro` does not do it.
    """
    from gunshot.base import params, pipeline
    from gunshot.studies import verifier

    p = params.load("audio", "chunks", "context", "features", "detector", "network", "verifier", "quantize", "evaluate")
    models, out = pipeline.models(), pipeline.verifier()
    data = verifier.Data(
        raw=pipeline.raw(),
        chunks=pipeline.output("chunk"),
        augmented=pipeline.output("augment"),
        splits=pipeline.output("split"),
        streams={side: pipeline.output(f"streams_{side}") for side in ("train", "val")},
        network=models["float"],
        detector=models["int8"],
    )
    report = verifier.make(data, out, p)
    shots, environment = report["examples"].values()
    print(
        f"{report['parameters']} parameters, {report['bytes']} bytes as int8; AUC {report['validation_auc']:.4f}",
        end="",
    )
    print(f" on {shots} shots and {environment} other sounds that the detector lets through on the validation side")
    print(f"see {out}")
