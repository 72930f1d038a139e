"""The software bill of materials, CycloneDX 1.6 in JSON: `python tools/sbom.py > sbom.json`.

What is installed for lin_jax without extras, and the weights that ship, with their SHA-256, their
licences and the corpora they learnt from.
"""

import importlib.metadata
import json
import re
import sys

import lin_jax
from lin_jax import bundles
from lin_jax.bundles import card


def packages(name: str, result: dict) -> dict:
    """Distributions by name that a package needs without extras, with those that they need."""
    for line in importlib.metadata.requires(name) or ():
        if ";" in line and ("extra" in line or "platform" in line or "version" in line):
            continue  # what an extra, another system or another Python needs
        need = re.match(r"[\w.-]+", line)[0]
        try:
            distribution = importlib.metadata.distribution(need)
        except importlib.metadata.PackageNotFoundError:
            continue
        if distribution.name not in result:
            result[distribution.name] = distribution
            packages(need, result)
    return result


def library(distribution) -> dict:
    """The component of an installed package."""
    metadata, version = distribution.metadata, distribution.version
    name = re.sub(r"[-_.]+", "-", distribution.name).lower()
    licence = metadata.get("License-Expression") or (metadata.get("License") or "").split("\n")[0]
    licences = {"licenses": [{"license": {"name": licence}}]} if licence else {}
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": purl,
        "bom-ref": purl,
    } | licences


def weights(folder) -> dict:
    """The component of a bundle that ships."""
    described = bundles.describe(folder)
    name = folder.relative_to(bundles.PRETRAINED).as_posix()
    provenance = described["provenance"]
    corpora = [
        {key: str(corpus[key]) for key in ("name", "licence") if corpus.get(key)}
        for corpus in provenance.get("corpora", ())
    ]
    licence = re.search(r"^license: *(.+)$", card.render(described), re.MULTILINE)
    return {
        "type": "machine-learning-model",
        "name": name,
        "version": lin_jax.__version__,
        "bom-ref": f"weights/{name}",
        "hashes": [{"alg": "SHA-256", "content": described["weights_sha256"]}],
        "properties": [
            *({"name": "corpus", "value": json.dumps(corpus)} for corpus in corpora),
            *([{"name": "card licence", "value": licence[1]}] if licence else []),
        ],
    }


def main() -> int:
    """Write the bill to stdout."""
    libraries = sorted(packages("lin_jax", {}).values(), key=lambda item: item.name.lower())
    folders = sorted(path.parent for path in bundles.PRETRAINED.rglob("bundle.json"))
    components = [*map(library, libraries), *map(weights, folders)]
    root = f"pkg:pypi/lin-jax@{lin_jax.__version__}"
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "name": "lin_jax",
                "version": lin_jax.__version__,
                "bom-ref": root,
                "purl": root,
            }
        },
        "components": components,
        "dependencies": [
            {"ref": root, "dependsOn": [component["bom-ref"] for component in components]}
        ],
    }
    print(json.dumps(bill, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
