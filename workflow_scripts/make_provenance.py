"""Where every table of the run comes from: rule, hashes of configuration and code, seed, model, versions; and the config.

The config is written as one file too, which starts the same run: --configfile results/<run>/config.yaml.
"""

from html import escape
from pathlib import Path

import pandas as pd
import yaml

import job
from onemask.io.files import read_provenance, sha256, write_text
from onemask.summaries.tables import document


def row(path):
    found = read_provenance(path)
    model = found["model"] or {}
    return {
        "file": path,
        "rule": found["rule"],
        "sha256": sha256(path),
        "configuration": found["config_hash"],
        "code": found["code_hash"],
        "seed": found["seed"],
        "model": model.get("name", ""),
        "weights (sha256)": model.get("sha256", ""),
        "versions": ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
    }


def as_yaml(config):
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def main(smk):
    table = pd.DataFrame([row(path) for path in smk.input.tables]).fillna("")
    write_text(smk.output.csv, table.to_csv(index=False))
    short = table.assign(**{name: table[name].str[:12] for name in ("sha256", "configuration", "code", "weights (sha256)")})
    write_text(smk.output.config, as_yaml(smk.params.config))
    config = escape(as_yaml({**smk.params.config, "models": smk.params.models}))
    said = f"<p>Hashes whole in {escape(Path(smk.output.csv).name)}. The run's configuration:</p>"
    write_text(smk.output.html, document(short.to_html(index=False, border=0), said, f"<pre>{config}</pre>"))
    write_text(smk.output.caption, "**Provenance.** What each file was made by and of, and the run's whole configuration.\n")


job.run(globals(), main, torch_threads=False)
