/**
 * Records what Debian's own drivers do to the IOMMU models during a boot, for packages/hypervisor/test/replay/fixtures:
 * a kernel that finds the IOMMU, attaches an entropy device behind it, reads a few bytes, and powers off.
 *
 *   node --conditions=@iommu-lab/source scripts/capture/record-linux-traces.ts [--cache FOLDER] [--out FOLDER]
 *
 * Needs Debian (apt-get download; nothing is installed) and the package qemu-system-x86.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { constants, gzipSync } from "node:zlib";
import { cpioArchive, type CpioEntry } from "../../apps/cli/src/guest/cpio.ts";
import { debianBusybox, debianKernel, defaultCache } from "../../apps/cli/src/guest/debian-kernel.ts";
import { modulesOf } from "../../apps/cli/src/guest/kernel-modules.ts";
import { Board } from "../../packages/hypervisor/src/board/index.ts";
import { virtioEntropy, VirtioFunction } from "../../packages/hypervisor/src/devices/index.ts";
import { EventClock } from "../../packages/hypervisor/src/engines/index.ts";
import { QemuEngine } from "../../packages/hypervisor/src/engines/qemu/index.ts";

const RAM = 256 * 2 ** 20;
const DEVICE = 5 << 3;

const fileSystem = (moduleFolder: string, busybox: string): Uint8Array => {
  const modules = modulesOf(moduleFolder, ["virtio_pci", "virtio-rng"]);
  const folder = (path: string): CpioEntry => ({ kind: "folder", path, mode: 0o755 });
  const init = `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
${modules.map(({ name }) => `/bin/busybox insmod /modules/${name}`).join("\n")}
/bin/busybox head -c 64 /dev/hwrng >/dev/null
/bin/busybox poweroff -f
`;
  return cpioArchive([
    ...["bin", "dev", "modules"].map(folder),
    { kind: "file", path: "bin/busybox", mode: 0o755, bytes: readFileSync(busybox) },
    ...modules.map(({ name, bytes }): CpioEntry => ({ kind: "file", path: `modules/${name}`, mode: 0o644, bytes })),
    { kind: "file", path: "init", mode: 0o755, bytes: Buffer.from(init) },
  ]);
};

const record = async (vendor: "intel" | "amd", kernel: string, initrd: string): Promise<string[]> => {
  const lines: string[] = [];
  const session = new QemuEngine().open({ ram: RAM, console: () => undefined });
  let counter = 0;
  const bytes = (into: Uint8Array): void => {
    for (let i = 0; i < into.length; i++) into[i] = counter++ & 0xff;
  };
  await session.start({ kernel, initrd, commandLine: `console=ttyS0 panic=-1 no_timer_check ${vendor === "intel" ? "intel_iommu=on,sm_off" : ""}` }, (windows) =>
    new Board({
      memory: session.memory,
      message: (address, data) => {
        session.message(address, data);
      },
      clock: new EventClock(),
      iommu: { vendor },
      devices: [{ devfn: DEVICE, fn: new VirtioFunction(virtioEntropy(bytes)) }],
      registerBase: windows[0] ?? 0,
      ...(windows.length > 0 ? { trace: (line: string) => lines.push(line) } : {}),
    }),
  );
  const end = await session.ended;
  if (end.reason !== "powered-off") throw new Error(end.text ?? end.reason);
  return lines;
};

const { values } = parseArgs({ options: { cache: { type: "string", default: defaultCache() }, out: { type: "string", default: resolve(import.meta.dirname, "../../packages/hypervisor/test/replay/fixtures") } } });
const source = { cache: resolve(values.cache), progress: console.error };
const { kernel, modules } = debianKernel(source);
const work = mkdtempSync(join(tmpdir(), "iommu-lab-"));
try {
  const initrd = join(work, "initrd");
  writeFileSync(initrd, fileSystem(modules, debianBusybox(source)));
  mkdirSync(values.out, { recursive: true });
  const release = /vmlinuz-(\d+\.\d+)/.exec(kernel)?.[1] ?? "unknown";
  for (const vendor of ["intel", "amd"] as const) {
    const lines = await record(vendor, kernel, initrd);
    const packed = gzipSync(`${lines.join("\n")}\n`, { level: constants.Z_BEST_COMPRESSION });
    const path = join(values.out, `linux-${release}-${vendor}.jsonl.gz`);
    writeFileSync(path, packed);
    console.log(`${path}: ${lines.length} lines, ${(packed.length / 1024).toFixed(0)} KiB`);
  }
} finally {
  rmSync(work, { recursive: true });
}
