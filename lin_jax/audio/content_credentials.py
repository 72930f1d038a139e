"""Content Credentials: a signed statement in an audio file that it is synthetic, and by what.

Coalition for Content Provenance and Authenticity, "C2PA technical specification", version 2. Whoever
runs lin_jax signs with a certificate of their own, in `FOLDER`; where there is none, nothing is
signed.
"""

import json
import pathlib
import warnings

from lin_jax import durable, private
from lin_jax.errors import AudioError, AudioWarning

# chain.pem, the signer's certificate and those above it, and key.pem, its key (ES256, PKCS #8).
FOLDER = pathlib.Path("~/.lin_jax/c2pa")
SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SUFFIXES = (".wav", ".flac", ".mp3")


def sign(path, provenance: str) -> bool:
    """Put a signed manifest into a file of synthetic speech, if there is a certificate.

    Args:
        path: of the file, which is replaced.
        provenance: by what it was made.

    Returns:
        Whether it is signed.

    Raises:
        AudioError: c2pa-python is not installed, others can write to the certificate or its key,
            or it does not sign with them.
    """
    folder, path = FOLDER.expanduser(), pathlib.Path(path)
    chain, key = folder / "chain.pem", folder / "key.pem"
    if not (chain.exists() and key.exists()):
        return False
    if path.suffix.lower() not in SUFFIXES:
        suffixes = ", ".join(SUFFIXES)
        warnings.warn(
            f"{path}: not signed, its format holds no manifest; {suffixes} do",
            AudioWarning,
            stacklevel=3,
        )
        return False
    for place in (folder, chain, key):
        private.check(place, AudioError)
    try:
        import c2pa
    except ImportError:
        raise AudioError(
            f"{folder}: to sign speech takes one more package: pip install 'lin_jax[c2pa]'"
        ) from None
    try:
        info = c2pa.C2paSignerInfo(
            alg=c2pa.C2paSigningAlg.ES256,
            sign_cert=chain.read_bytes(),
            private_key=key.read_bytes(),
            ta_url=None,  # nothing is asked of anybody on the network
        )
        with (
            durable.replacing(path) as part,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(_manifest(provenance)) as builder,
        ):
            builder.sign_file(str(path), str(part), signer)
    except (c2pa.C2paError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise AudioError(
            f"{path}: cannot be signed ({reason}); check chain.pem and key.pem in {folder}"
        ) from None
    return True


def _manifest(provenance: str) -> str:
    """What is signed, as JSON."""
    created = {
        "action": "c2pa.created",
        "digitalSourceType": SYNTHETIC,
        "softwareAgent": {"name": "lin_jax"},
        "description": f"synthetic speech, {provenance}",
    }
    return json.dumps(
        {
            "claim_generator_info": [{"name": "lin_jax"}],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [created]}}],
        }
    )
