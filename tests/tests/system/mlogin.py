# A person at a terminal. The first argument is what they do, as JSON: steps, each waited for in order in what
# is shown after the step before ("see"), then keys ("type"), a window's new size ("resize": lines, columns) or
# the end of the terminal ("hang_up"). The others are the command. Prints what was shown and how it ended.
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

steps = json.loads(sys.argv[1])
deadline = time.monotonic() + 100
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])


def resize(lines, columns):
    size = struct.pack("HHHH", lines, columns, 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


resize(43, 132)
shown, seen, hung_up = b"", 0, False
while not hung_up:
    left = deadline - time.monotonic()
    if left <= 0:
        os.kill(pid, signal.SIGKILL)
        sys.exit("not seen in time: %r, but: %s" % (steps[:1], shown.decode(errors="replace")))
    if select.select([terminal], [], [], left)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    while steps and not hung_up:
        at = shown.find(steps[0]["see"].encode(), seen)
        if at < 0:
            break
        step = steps.pop(0)
        seen = at + len(step["see"].encode())
        if "type" in step:
            os.write(terminal, step["type"].encode())
        if "resize" in step:
            resize(*step["resize"])
        hung_up = step.get("hang_up", False)
if hung_up:
    os.close(terminal)
while True:
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended:
        break
    if time.monotonic() > deadline:
        os.kill(pid, signal.SIGKILL)
        sys.exit("does not end: %s" % shown.decode(errors="replace"))
    time.sleep(0.02)
code = os.waitstatus_to_exitcode(status)
shown = shown.decode(errors="replace").replace("\r", "")
print(json.dumps({"shown": shown, "code": code, "missed": [step["see"] for step in steps]}))
