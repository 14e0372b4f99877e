"""What schemathesis has to know about a store: whose it is, how requests are signed, which answers are failures.

The account, its key id and its key come in the variables that every client reads.
"""

import base64
import os
import random
from email.utils import formatdate

import schemathesis
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

ACCOUNT = os.environ["MANTA_USER"]
KEY_ID = f"/{ACCOUNT}/keys/{os.environ['MANTA_KEY_ID']}"
with open(os.environ["MANTA_KEY_FILE"], "rb") as key_file:
    KEY = serialization.load_pem_private_key(key_file.read(), password=None)


@schemathesis.auth()
class Signature:
    """Over the date, as clients do it."""

    def get(self, case, context):
        date = formatdate(usegmt=True)
        signature = KEY.sign(f"date: {date}".encode(), padding.PKCS1v15(), hashes.SHA256())
        signature = base64.b64encode(signature).decode()
        return date, f'Signature keyId="{KEY_ID}",algorithm="rsa-sha256",signature="{signature}"'

    def set(self, case, data, context):
        case.headers = dict(case.headers or {})
        case.headers["Date"], case.headers["Authorization"] = data


# Names that are met again, so that requests find what others made.
NAMES = ["a", "b", "a/b", "c"]


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if not path_parameters:
        return path_parameters
    # Other logins are of interest now and then only: nobody is there.
    dice = random.Random(repr(sorted(path_parameters.items())))
    if dice.random() < 0.9:
        path_parameters["login"] = ACCOUNT
    if "path" in path_parameters and dice.random() < 0.7:
        path_parameters["path"] = dice.choice(NAMES)
    return path_parameters


@schemathesis.check
def nothing_breaks(context, response, case):
    """Of the statuses from 500 on these are answers to what was asked: not made, come back later, no room."""
    if response.status_code in (501, 507):
        return
    if response.status_code == 503 and response.headers.get("retry-after"):
        return
    assert response.status_code < 500, f"status {response.status_code}: {response.text}"
