# Opens and seals tokens as other stores do: base64 of AES-128-CBC of gzip of a document, on standard input.
import base64
import gzip
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

what, key, iv = sys.argv[1:]
cipher = Cipher(algorithms.AES(bytes.fromhex(key)), modes.CBC(bytes.fromhex(iv)))


def through(step, given):
    return step.update(given) + step.finalize()


given = sys.stdin.buffer.read()
if what == "open":
    padded = through(cipher.decryptor(), base64.b64decode(given, validate=True))
    result = gzip.decompress(through(PKCS7(128).unpadder(), padded))
else:
    padded = through(PKCS7(128).padder(), gzip.compress(given))
    result = base64.b64encode(through(cipher.encryptor(), padded))
sys.stdout.buffer.write(result)
