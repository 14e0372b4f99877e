# Drives a store with the unmodified MantaClient of PyPI. Fails with a traceback.
import os
import time

import manta

account = os.environ["MANTA_USER"]
key = os.path.expanduser("~/.ssh/id_rsa")
with open(key) as file:
    signer = manta.PrivateKeySigner(os.environ["MANTA_KEY_ID"], priv_key=file.read().encode())
client = manta.MantaClient(
    os.environ["MANTA_URL"], account, signer=signer, cache_dir=os.path.expanduser("~/cache"))


def equal(found, expected):
    if found != expected:
        raise AssertionError("%r is not %r" % (found, expected))


root = "/%s/stor/py" % account
client.mkdirp(root + "/a/b")
# Texts come back as text, other bytes as bytes.
client.put(root + "/a/text", content=b"some text\n", content_type="text/plain", durability_level="2")
equal(client.get(root + "/a/text"), "some text\n")
# From the cache, which asks with the entity tag.
equal(client.get(root + "/a/text"), "some text\n")
client.put(root + "/a/text", content=b"other text\n", content_type="text/plain")
equal(client.get(root + "/a/text"), "other text\n")
client.put(root + "/a/nothing", content=b"")
equal(client.get(root + "/a/nothing"), "")
path = os.path.expanduser("~/large")
content = os.urandom(1 << 20)
with open(path, "wb") as file:
    file.write(content)
client.put(root + "/a/b/large", path=path)
equal(client.get(root + "/a/b/large"), content)

listing = client.ls(root + "/a")
equal(sorted(listing), ["b", "nothing", "text"])
equal(listing["b"]["type"], "directory")
equal(listing["text"]["size"], 11)
response, entries = client.list_directory2(root + "/a", limit=2)
equal([entry["name"] for entry in entries], ["b", "nothing"])
equal(response["result-set-size"], "3")
equal([entry["name"] for entry in client.list_directory(root + "/a", marker="nothing")], ["nothing", "text"])
equal(client.type(root + "/a"), "directory")
equal(client.type(root + "/a/text"), "object")
walked = [(directory, sorted(e["name"] for e in directories), sorted(e["name"] for e in objects))
          for directory, directories, objects in client.walk(root)]
equal(walked, [(root, ["a"], []), (root + "/a", ["b"], ["nothing", "text"]), (root + "/a/b", [], ["large"])])
equal(client.stat(root + "/a/text")["contentType"], "text/plain")
equal(client.head_directory(root + "/a")["result-set-size"], "3")

try:
    client.delete_directory(root + "/a")
    raise AssertionError("a directory that holds something was removed")
except manta.MantaAPIError as error:
    equal(error.code, "DirectoryNotEmpty")
try:
    client.get_object(root + "/nothing/there")
    raise AssertionError("something was found where nothing is")
except manta.MantaAPIError as error:
    equal(error.code, "ResourceNotFound")

job = client.create_job([{"type": "map", "exec": "wc -c"}, {"type": "reduce", "exec": "sort"}], name="from-python")
client.add_job_inputs(job, [root + "/a/text", root + "/a/b/large"])
client.end_job_input(job)
deadline = time.time() + 60
while client.get_job(job)["state"] != "done":
    if time.time() > deadline:
        raise AssertionError("the job is not done: %r" % client.get_job(job))
    time.sleep(0.05)
equal(client.get_job(job)["stats"]["errors"], 0)
outputs = client.get_job_output(job)
equal(len(outputs), 1)
equal(sorted(client.get(outputs[0].decode()).split()), ["1048576", "11"])
equal(sorted(client.get_job_input(job)), sorted([(root + "/a/text").encode(), (root + "/a/b/large").encode()]))
equal(client.get_job_errors(job), [])
equal(client.get_job_failures(job), [])
assert any(entry["name"] == job for entry in client.list_jobs()), client.list_jobs()

for directory, _, objects in client.walk(root, topdown=False):
    for entry in objects:
        client.rm(directory + "/" + entry["name"])
    client.delete_directory(directory)
equal(client.list_directory("/%s/stor" % account), [])
print("all is well")
