# Drives a store with the unmodified MantaClient of PyPI. Fails with a traceback.
#
# What the client makes of an answer is asserted as it is, its own mistakes included: programs are written
# around them. At the end every public method of both classes must have run.
import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import time

import manta
import manta.client
from manta.client import MantaClient, RawMantaClient

ACCOUNT = os.environ["MANTA_USER"]
KEY_ID = os.environ["MANTA_KEY_ID"]
KEYS = os.path.expanduser("~/.ssh")
NO_JOB = "11111111-1111-4111-8111-111111111113"
SOURCE = manta.client.__file__
ran = set()


def note(frame, event, _):
    if event == "call" and frame.f_code.co_filename == SOURCE:
        ran.add(frame.f_code)


def public_methods():
    for kind in (RawMantaClient, MantaClient):
        for name, method in vars(kind).items():
            if callable(method) and not name.startswith("_"):
                yield "%s.%s" % (kind.__name__, name), method.__code__


def client(signer=None, **options):
    # A cache of its own, so that nothing is remembered from another client.
    client.count += 1
    cache = os.path.expanduser("~/cache/%d" % client.count)
    return MantaClient(os.environ["MANTA_URL"], ACCOUNT, signer=signer, cache_dir=cache, **options)


client.count = 0


def fingerprint(name, kind):
    words = ["ssh-keygen", "-l", "-E", kind, "-f", os.path.join(KEYS, name)]
    return subprocess.check_output(words, encoding="utf-8").split()[1]


def equal(found, expected):
    if found != expected:
        raise AssertionError("%r is not %r" % (found, expected))


def raises(kind, words, call, *arguments, **options):
    """The client itself gives up: with this kind of error and these words in it."""
    try:
        found = call(*arguments, **options)
    except Exception as error:
        if type(error) is kind and words in str(error):
            return error
        raise
    raise AssertionError("%s%r gave %r" % (call.__name__, arguments, found))


def refused(status, code, call, *arguments, **options):
    """The store refuses, and the client says so with the store's words."""
    error = raises(manta.MantaAPIError, "(%s) " % code, call, *arguments, **options)
    equal((error.res.status, error.code, error.body["code"]), (status, code, code))
    equal(str(error), "(%s) %s" % (code, error.body["message"]))


def directories(c, root):
    c.put_directory(root)
    c.put_directory(root)
    equal(c.list_directory(root), [])
    equal(c.head_directory(root)["result-set-size"], "0")
    c.mkdir(root + "/a")
    c.mkdirp(root + "/a/b/c/d")
    c.mkdir(root + "/a/b/e/f", parents=True)
    c.mkdirp(root + "/a/b/c/d")
    odd = ["*needs=(escaping)", "blank and 'quote'", "é ü", "p%41&q?=#"]
    for name in odd:
        c.mkdir(root + "/" + name)
    equal([entry["name"] for entry in c.list_directory(root)], sorted(odd + ["a"]))
    equal([entry["name"] for entry in c.list_directory(root, limit=2)], sorted(odd + ["a"])[:2])
    # The marker is the first entry of what follows, whatever is in its name.
    for name in odd:
        equal(c.list_directory(root, marker=name, limit=1)[0]["name"], name)
    response, entries = c.list_directory2(root, limit=2, marker="a")
    equal([entry["name"] for entry in entries], sorted(odd + ["a"])[1:3])
    equal(response["result-set-size"], "5")
    equal(response["content-type"], "application/x-json-stream; type=directory")
    # More than one page.
    c.mkdir(root + "/many")
    names = ["%04d" % number for number in range(1100)]
    for name in names:
        c.put(root + "/many/" + name, content=b"")
    equal(c.head_directory(root + "/many")["result-set-size"], "1100")
    equal(len(c.list_directory(root + "/many")), 256)
    equal(sorted(c.ls(root + "/many")), names)
    equal(c.stat(root + "/many/1099")["size"], 0)

    walked = [(path, [d["name"] for d in inner], [o["name"] for o in objects])
              for path, inner, objects in c.walk(root + "/a")]
    below = root + "/a"
    expected = [(below, ["b"], []), (below + "/b", ["c", "e"], []), (below + "/b/c", ["d"], []),
                (below + "/b/c/d", [], []), (below + "/b/e", ["f"], []), (below + "/b/e/f", [], [])]
    equal(walked, expected)
    upwards = [path for path, _, _ in c.walk(below, topdown=False)]
    equal(upwards, [below + rest for rest in ["/b/c/d", "/b/c", "/b/e/f", "/b/e", "/b", ""]])

    nothing = root + "/nothing"
    refused(404, "ResourceNotFound", c.list_directory, nothing)
    refused(404, "ResourceNotFound", c.ls, nothing)
    refused(404, "ResourceNotFound", lambda: list(c.walk(nothing)))
    refused(404, "ResourceNotFound", c.delete_directory, nothing)
    refused(404, "DirectoryDoesNotExist", c.put_directory, nothing + "/below")
    refused(404, "DirectoryDoesNotExist", c.mkdir, nothing + "/below")
    refused(404, "ResourceNotFound", c.put_directory, "/%s/nowhere" % ACCOUNT)
    refused(403, "AccountDoesNotExist", c.put_directory, "/nobody/stor/x")
    refused(400, "DirectoryNotEmpty", c.delete_directory, root + "/a")
    refused(400, "OperationNotAllowedOnRootDirectory", c.delete_directory, "/%s/stor" % ACCOUNT)
    for limit in (1025, -1):
        refused(400, "InvalidArgumentError", c.list_directory, root, limit=limit)
    c.put(root + "/object", content=b"x")
    refused(400, "ParentNotDirectory", c.mkdir, root + "/object/below")
    # An error without a body is one that the client cannot read.
    raises(KeyError, "content-type", c.head_directory, nothing)
    raises(AssertionError, "invalid manta path", c.mkdir, "stor/x")
    raises(AssertionError, "cannot create top-level dirs", c.mkdir, "/%s/stor" % ACCOUNT)
    raises(AssertionError, "bogus path", c.put_directory, "stor/x")
    raises(AssertionError, "not yet implemented", c.ls, root, limit=1)
    # Nothing says that an object is in the way: a directory takes its place, as the specification has it.
    c.mkdirp(root + "/object")
    equal(c.type(root + "/object"), "directory")

    equal(sorted(c.ls("/" + ACCOUNT)), ["jobs", "public", "reports", "stor", "uploads"])
    equal(c.type(root + "/a"), "directory")
    equal(c.type(nothing), None)
    equal(c.type(nothing + "/below"), None)
    raises(manta.MantaResourceNotFoundError, "%s: no such object or directory" % nothing, c.stat, nothing)
    refused(404, "ResourceNotFound", c.stat, nothing + "/below")
    raises(manta.MantaError, "cannot stat special manta path", c.stat, "/%s/stor" % ACCOUNT)
    c.delete_directory(root + "/object")
    c.rm(root + "/a/b/c/d")
    equal(c.type(root + "/a/b/c/d"), None)


def objects(c, root):
    c.mkdir(root)
    path = os.path.expanduser("~/large")
    large = os.urandom(1 << 20)
    with open(path, "wb") as file:
        file.write(large)
    c.put(root + "/text", content=b"some text\n", content_type="text/plain")
    c.put(root + "/words", content="words")
    c.put(root + "/nothing", content=b"")
    c.put(root + "/large", path=path)
    c.put_object(root + "/file", file=io.BytesIO(b"from a file"), durability_level="1")
    # Texts come back as text, other bytes as bytes; the second time from the cache.
    for again in ("200", "304"):
        response, content = c.get_object2(root + "/text")
        equal((response["status"], content), (again, b"some text\n"))
        equal(c.get(root + "/words"), "words")
        equal(c.get(root + "/large"), large)
        equal(c.get_object(root + "/nothing"), "")
        equal(c.get(root + "/file"), "from a file")
    equal(response["content-type"], "text/plain")
    equal(response["content-md5"], base64.b64encode(hashlib.md5(b"some text\n").digest()).decode())
    equal(c.get(root + "/large", path=path + ".back"), None)
    with open(path + ".back", "rb") as file:
        equal(file.read(), large)
    equal(client(c.signer).get_object2(root + "/large", path=path + ".back")[1], None)
    entry = c.stat(root + "/text")
    equal([entry[name] for name in ("name", "type", "size", "contentType", "durability")],
          ["text", "object", 10, "text/plain", 2])
    equal((entry["etag"], entry["contentMD5"]), (response["etag"], response["content-md5"]))
    equal([c.stat(root + name)["durability"] for name in ("/file", "/nothing")], [1, 0])
    equal(c.type(root + "/text"), "object")
    equal(c.ls(root)["large"]["contentType"], "application/octet-stream")
    equal(client(c.signer).get(root + "/text", accept="text/*"), "some text\n")

    nothing = root + "/missing"
    refused(404, "ResourceNotFound", c.get, nothing)
    refused(404, "ResourceNotFound", c.rm, nothing)
    refused(404, "DirectoryDoesNotExist", c.put, nothing + "/below", content=b"x")
    refused(400, "ParentNotDirectory", c.put, root + "/text/below", content=b"x")
    refused(406, "NotAcceptable", client(c.signer).get, root + "/text", accept="image/png")
    for level in ("0", "10", "many"):
        refused(400, "InvalidDurabilityLevel", c.put, nothing, content=b"x", durability_level=level)
    refused(400, "InvalidUpdate", c.put, root, content=b"x")
    # Its length is that of the characters, its MD5 that of the bytes.
    refused(400, "ContentMD5Mismatch", c.put, nothing, content="é")
    # The number that its documentation asks for cannot be sent, and a directory is taken for an object.
    raises(TypeError, "int found", c.put, nothing, content=b"x", durability_level=2)
    raises(KeyError, "content-length", c.get, root)
    # What is no listing is no error of the store.
    raises(manta.MantaError, "invalid directory entry: b'some text'", client(c.signer).list_directory, root + "/text")
    for given in ({}, {"content": b"x", "path": path}):
        raises(manta.MantaError, "exactly one of", c.put, nothing, **given)
    equal(c.type(nothing), None)

    # What it has read it replaces only as long as nobody else has.
    other = client(c.signer)
    equal(c.get(root + "/words"), "words")
    other.put(root + "/words", content=b"others")
    refused(412, "PreconditionFailed", c.put, root + "/words", content=b"mine")
    equal(c.get(root + "/words"), "others")
    c.put(root + "/words", content=b"mine")
    equal(other.get(root + "/words"), "mine")

    equal(c.rm(root + "/file")["status"], "204")
    equal(c.delete_object(root + "/nothing")["status"], "204")
    equal(sorted(c.ls(root)), ["large", "text", "words"])


def links(c, root):
    c.mkdir(root)
    c.put(root + "/source", content=b"first")
    c.ln(root + "/source", root + "/link")
    c.put_snaplink(root + "/é link", root + "/link")
    equal(c.stat(root + "/é link")["etag"], c.stat(root + "/source")["etag"])
    c.put(root + "/source", content=b"second")
    equal([c.get(root + name) for name in ("/source", "/link", "/é link")], ["second", "first", "first"])
    # The client makes its own condition of what it has read, and the store holds it against the source.
    refused(412, "PreconditionFailed", c.ln, root + "/source", root + "/link")
    client(c.signer).ln(root + "/source", root + "/link")
    c.rm(root + "/source")
    equal([c.get(root + name) for name in ("/link", "/é link")], ["second", "first"])
    refused(404, "SourceObjectNotFound", c.ln, root + "/source", root + "/other")
    refused(400, "LinkNotObject", c.ln, root, root + "/other")
    refused(404, "DirectoryDoesNotExist", c.ln, root + "/link", root + "/missing/other")
    equal(c.type(root + "/other"), None)


def until(c, job, holds):
    deadline = time.time() + 120
    while not holds(c.get_job(job)):
        if time.time() > deadline:
            raise AssertionError("the job stays as it is: %r" % c.get_job(job))
        time.sleep(0.05)


def finished(c, phases, inputs, **options):
    job = c.create_job(phases, **options)
    c.add_job_inputs(job, inputs)
    c.end_job_input(job)
    until(c, job, lambda seen: "timeArchiveDone" in seen)
    return job


def jobs(c, root):
    c.mkdir(root)
    c.put(root + "/eleven", content=b"other text\n")
    c.put(root + "/four", content=b"text")
    inputs = [root + "/eleven", root + "/four"]
    job = finished(c, [{"type": "map", "exec": "wc -c"}, {"type": "reduce", "exec": "sort -n"}], inputs,
                   name="from-python")
    seen = c.get_job(job)
    equal([seen[name] for name in ("id", "name", "state", "cancelled", "inputDone")],
          [job, "from-python", "done", False, True])
    equal([phase["type"] for phase in seen["phases"]], ["map", "reduce"])
    equal([seen["stats"][name] for name in ("errors", "outputs", "tasksDone")], [0, 1, 3])
    equal(sorted(c.get_job_input(job)), [path.encode() for path in inputs])
    outputs = c.get_job_output(job)
    equal([c.get(path.decode()).split() for path in outputs], [["4", "11"]])
    equal((c.get_job_errors(job), c.get_job_failures(job)), ([], []))

    # One input is not there, one makes the command fail, one has an output.
    inputs.append(root + "/missing")
    failing = finished(c, [{"exec": "grep other"}], inputs)
    equal(c.get_job(failing)["stats"]["errors"], 2)
    equal(sorted(c.get_job_failures(failing)), sorted(path.encode() for path in inputs[1:]))
    errors = {error["input"]: error for error in c.get_job_errors(failing)}
    equal(sorted(errors), sorted(inputs[1:]))
    equal([errors[path]["code"] for path in inputs[1:]], ["UserTaskError", "ResourceNotFoundError"])
    equal([c.get(path.decode()) for path in c.get_job_output(failing)], ["other text\n"])

    open_job = c.create_job([{"exec": "cat"}], name="open")
    seen = RawMantaClient.get_job(c, open_job)
    equal([seen["state"] in ("queued", "running"), seen["inputDone"]], [True, False])
    equal(c.get_job_output(open_job), [])
    known = sorted([job, failing, open_job])
    equal(sorted(row["name"] for row in c.list_jobs()), known)
    equal(sorted(c.ls("/%s/jobs" % ACCOUNT)), known)
    equal(len(c.list_jobs(limit=1)), 1)
    equal([row["name"] for row in c.list_jobs(marker=known[1], limit=1)], [known[1]])
    until(c, open_job, lambda seen: seen["state"] == "running")
    equal([row["name"] for row in c.list_jobs(state="running")], [open_job])
    # A cancelled job is answered with 202 and nothing else. The client wants 204, and then cannot read why not.
    raises(json.JSONDecodeError, "Expecting value", c.cancel_job, open_job)
    seen = c.get_job(open_job)
    equal([seen["cancelled"], seen["inputDone"]], [True, True])
    for call in (c.cancel_job, c.end_job_input):
        refused(409, "InvalidJobState", call, open_job)
    refused(409, "InvalidJobState", c.add_job_inputs, open_job, inputs)
    refused(409, "InvalidJobState", c.cancel_job, job)
    until(c, open_job, lambda seen: seen["state"] == "done")
    equal(c.list_jobs(state="running"), [])
    refused(400, "InvalidParameter", c.list_jobs, state="done")
    refused(400, "InvalidJob", c.create_job, [])
    refused(400, "InvalidJob", c.create_job, [{"exec": ""}])
    refused(400, "InvalidJob", c.create_job, [{"exec": "cat"}], input=inputs[0])
    equal(len(c.list_jobs()), 3)

    # A job of which only the archive is left: its files under the id of a job that never was.
    for call in (c.get_job, c.get_job_input, c.get_job_output, c.get_job_errors, c.get_job_failures,
                 c.end_job_input, c.cancel_job):
        refused(404, "ResourceNotFound", call, NO_JOB)
    refused(404, "ResourceNotFound", c.add_job_inputs, NO_JOB, inputs)
    archive = "/%s/jobs/%%s/%%s" % ACCOUNT
    c.mkdir("/%s/jobs/%s" % (ACCOUNT, NO_JOB))
    for name in ("job.json", "in.txt", "out.txt", "err.txt", "fail.txt"):
        response, content = c.get_object2(archive % (failing, name))
        c.put(archive % (NO_JOB, name), content=content, content_type=response["content-type"])
    equal(c.get_job(NO_JOB)["id"], failing)
    equal({error["input"]: error["code"] for error in c.get_job_errors(NO_JOB)},
          {path: errors[path]["code"] for path in inputs[1:]})
    for call in (c.get_job_input, c.get_job_output, c.get_job_failures):
        # From the archive the same names are text.
        equal(sorted(call(NO_JOB)), sorted(name.decode() for name in call(failing)))


def identities(c, root):
    c.mkdir(root)
    shared = "/%s/stor/shared" % ACCOUNT
    key = os.environ["BOB_KEY"]
    bob = manta.PrivateKeySigner(key)
    # The role comes with the account's policy, on a directory that is tagged with it.
    for_bob = client(bob, subuser="bob", role="reader")
    equal(sorted(for_bob.ls(shared)), ["object"])
    equal(for_bob.get(shared + "/object"), "for bob")
    refused(403, "AuthorizationFailed", for_bob.rm, shared + "/object")
    refused(403, "NoMatchingRoleTag", for_bob.ls, root)
    refused(403, "AuthorizationFailed", client(bob, subuser="bob").get, shared + "/object")
    refused(409, "InvalidRole", client(bob, subuser="bob", role="nonsense").ls, shared)
    refused(403, "UserDoesNotExist", client(bob, subuser="nobody").ls, shared)
    refused(403, "KeyDoesNotExist", client(bob).ls, root)
    with open(os.path.join(KEYS, "id_ecdsa256"), "rb") as file:
        forger = manta.PrivateKeySigner(KEY_ID, priv_key=file.read())
    refused(403, "InvalidSignature", client(forger).ls, root)

    nobody = client()
    public = "/%s/public/from-python" % ACCOUNT
    c.put(public, content=b"for all")
    equal(nobody.get(public), "for all")
    refused(403, "AuthorizationFailed", nobody.get, root)
    refused(403, "AuthorizationFailed", nobody.put, public, content=b"from anybody")
    equal(c.get(public), "for all")
    away = MantaClient("http://127.0.0.1:1", ACCOUNT, cache_dir=os.path.expanduser("~/cache/away"))
    raises(ConnectionRefusedError, "Connection refused", away.get, public)


def signers(c, root):
    c.mkdir(root)
    names = ["id_rsa", "id_ecdsa256", "id_ecdsa384", "id_ecdsa521"]
    algorithms = ["rsa-sha1", "ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512"]
    unknown = "aa:" * 15 + "aa"
    missing = "/nonexistent/agent"
    socket = os.path.join(os.environ["HOME"], "agent")
    for kind in (manta.SSHAgentSigner, manta.CLISigner):
        os.environ["SSH_AUTH_SOCK"] = missing
        raises(manta.MantaError, "no ssh-agent key with fingerprint", kind(unknown).sign, "x")
    raises(manta.MantaError, "key found with fingerprint", manta.PrivateKeySigner(unknown).sign, "x")
    used = {}
    for name, algorithm in zip(names, algorithms):
        path = os.path.join(KEYS, name)
        md5, sha256 = fingerprint(name, "md5"), fingerprint(name, "sha256")
        bare = md5[len("MD5:"):]
        with open(path, "rb") as file:
            content = file.read()
        used[name] = [manta.PrivateKeySigner(bare, priv_key=content), manta.PrivateKeySigner(path)]
        for kind in (manta.PrivateKeySigner, manta.CLISigner):
            used[name] += [kind(key_id) for key_id in (bare, md5)]
            # Only an agent's keys are known by the other fingerprint.
            raises(manta.MantaError, "key found with fingerprint", kind(sha256).sign, "x")
        for signer in used[name]:
            equal(client(signer).ls(root), {})
            equal(signer.sign("x")[:2], (algorithm, bare))
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        os.environ["SSH_AUTH_SOCK"] = socket
        while subprocess.call(["ssh-add", "-l"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 2:
            equal(agent.poll(), None)
            time.sleep(0.01)
        paths = [os.path.join(KEYS, name) for name in names]
        subprocess.check_call(["ssh-add", "-q"] + paths)
        for path in paths:
            # Only the agent knows the secret.
            os.rename(path, path + ".away")
        for name in names:
            for key_id in (fingerprint(name + ".pub", "md5"), fingerprint(name + ".pub", "sha256")):
                for kind in (manta.SSHAgentSigner, manta.CLISigner):
                    equal(client(kind(key_id)).ls(root), {})
    finally:
        agent.terminate()
        agent.wait()


sys.setprofile(note)
signer = manta.PrivateKeySigner(KEY_ID)
top = "/%s/stor/py" % ACCOUNT
client(signer).mkdir(top)
for subject in (directories, objects, links, jobs, identities, signers):
    subject(client(signer), "%s/%s" % (top, subject.__name__))

remover = client(signer)
for directory, _, entries in remover.walk(top, topdown=False):
    for entry in entries:
        remover.rm(directory + "/" + entry["name"])
    remover.delete_directory(directory)
equal(remover.type(top), None)
sys.setprofile(None)
equal([name for name, code in public_methods() if code not in ran], [])
print("all is well")
