# Compiles Python sources to unchecked-hash bytecode (PEP 552) and sends it back; writes no files, runs no code of a
# package. A request is one line of two hexadecimal fields: the source's path, and the name that goes into the
# bytecode. A reply is four bytes of length (little endian) and the bytecode; length 0: the source does not compile;
# length 0xfffffffe, and nothing after it: CPython gives up on the source, by MemoryError most likely, which its parser
# raises for what is nested too deep.
import gc
import sys

# What compiling leaves behind has no cycles worth looking for.
gc.disable()
sys.path[:] = [path for path in sys.path if path]
import importlib.util
import marshal
import warnings

warnings.simplefilter("ignore")
MAGIC = importlib.util.MAGIC_NUMBER
UNCHECKED_HASH = (1).to_bytes(4, "little")


def bytecode(path, name):
    with open(path, "rb") as file:
        source = file.read()
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    return MAGIC + UNCHECKED_HASH + importlib.util.source_hash(source) + marshal.dumps(code)


def main():
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    replies.write(b"+")
    replies.flush()
    for line in requests:
        path, name = (bytes.fromhex(field.decode()) for field in line.split())
        try:
            body = bytecode(path, name.decode())
        except (SyntaxError, ValueError, RecursionError, OverflowError):
            body = b""
        except OSError:
            raise
        except Exception:
            replies.write((0xFFFFFFFE).to_bytes(4, "little"))
            replies.flush()
            continue
        replies.write(min(len(body), 0xFFFFFFFF).to_bytes(4, "little") + body)
        replies.flush()


main()
