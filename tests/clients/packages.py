"""Makes a wheel, a tarball for npm, a crate and a module of Go, each named `probe`."""

import io
import os
import sys
import tarfile
import zipfile

folder = sys.argv[1]


def zipped(name, files):
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


def tarred(name, files):
    with tarfile.open(os.path.join(folder, name), "w:gz") as archive:
        for path, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


info = "probe-1.0.0.dist-info"
zipped("probe-1.0.0-py3-none-any.whl", {
    "probe.py": "",
    f"{info}/METADATA": "Metadata-Version: 2.1\nName: probe\nVersion: 1.0.0\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{info}/RECORD": "",
})
tarred("probe-1.0.0.tgz", {"package/package.json": '{"name": "probe", "version": "1.0.0"}'})
tarred("probe-1.0.0.crate", {
    "probe-1.0.0/Cargo.toml": '[package]\nname = "probe"\nversion = "1.0.0"\nedition = "2021"\n',
    "probe-1.0.0/src/lib.rs": "",
})
zipped("probe.zip", {
    "probe.test/mod@v1.0.0/go.mod": "module probe.test/mod\n",
    "probe.test/mod@v1.0.0/probe.go": "package probe\n",
})
