import { readFileSync } from "node:fs";
import { cpioArchive, type CpioEntry } from "./cpio.ts";
import { modulesOf, type KernelModule } from "./kernel-modules.ts";
import { syscallProgram } from "./syscall-program.ts";
import { GROUP_LINK, MESSAGE, UNMAPPED, vfioScript } from "./vfio-script.ts";

/** What the guest prints, for the program outside to know how it went. */
export const Mark = { passed: "IOMMU-LAB: self-test passed", failed: "IOMMU-LAB: self-test failed", expectedFault: "IOMMU-LAB: the next fault is wanted" } as const;

/** What is to be done once the guest is up. */
export type GuestPurpose = "self-test" | "shell";

const MODULES = ["virtio_pci", "virtio-rng", "virtio_blk", "virtio_console", "vfio-pci", "vfio_iommu_type1"] as const;
/** Where the command puts an edu device, if it has one by default. */
const EDU = "0000:00:08.0";
/** Bytes that the block test writes and reads back. */
const BLOCK_MIB = 64;

const START = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
`;

const insertModules = (modules: readonly KernelModule[]): string => modules.map(({ name }) => `insmod /modules/${name}`).join("\n");

/** The serial line's interrupt is lost where QEMU's own I/O APIC is remapped: what has to be seen goes through the kernel's log. */
const SELF_TEST = `exec </dev/null >/dev/kmsg 2>&1
failed=0
check() { if [ "$2" = ok ]; then echo "IOMMU-LAB: ok: $1"; else echo "IOMMU-LAB: FAILED: $1"; failed=1; fi; }

for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && [ -c /dev/hwrng ] && [ -c /dev/hvc0 ] && break; sleep 1; done

lonely=ok
for device in /sys/bus/pci/devices/*; do
  case "$(cat $device/class)" in 0x0806*) continue;; esac
  [ -e $device/iommu_group ] || lonely="$device"
done
check "every PCI device is in a group" "$lonely"

bytes=$(head -c 32 /dev/hwrng | hexdump -ve '1/1 "%02x"')
[ \${#bytes} = 64 ] && [ "$bytes" != 0000000000000000000000000000000000000000000000000000000000000000 ] && result=ok || result="$bytes"
check "virtio-rng gives bytes" "$result"

dd if=/dev/urandom of=/tmp/pattern bs=1M count=4 2>/dev/null
i=0; while [ $i -lt ${BLOCK_MIB / 4} ]; do dd if=/tmp/pattern of=/dev/vda bs=1M seek=$((4 * i)) conv=notrunc 2>/dev/null; i=$((i + 1)); done
sync; echo 3 >/proc/sys/vm/drop_caches
wanted=$(md5sum </tmp/pattern); result=ok
i=0; while [ $i -lt ${BLOCK_MIB / 4} ]; do [ "$(dd if=/dev/vda bs=1M skip=$((4 * i)) count=4 2>/dev/null | md5sum)" = "$wanted" ] || result="at $((4 * i)) MiB"; i=$((i + 1)); done
check "virtio-blk writes and reads ${BLOCK_MIB} MiB" "$result"

echo "hello from the guest" >/dev/hvc0 && result=ok
check "virtio-console takes a line" "$result"

for name in virtio0-input virtio1-req.0 virtio2-output; do
  count=$(grep -w $name /proc/interrupts | awk '{ print $2 }')
  [ "\${count:-0}" -gt 0 ] && result=ok || result="$count"
  check "interrupts of $name arrive" "$result"
done

edu=/sys/bus/pci/devices/${EDU}
if [ "$(cat $edu/vendor $edu/device 2>/dev/null | tr -d '\n')" != 0x12340x11e8 ]; then echo "IOMMU-LAB: no edu device: vfio is not tried"
elif grep -q intremap=off /proc/cmdline; then echo "IOMMU-LAB: no interrupt remapping: vfio is not tried"
else
  echo 1234 11e8 >/sys/bus/pci/drivers/vfio-pci/new_id
  ln -s /dev/vfio/$(basename $(readlink $edu/iommu_group)) ${GROUP_LINK}
  echo "${Mark.expectedFault}"
  syscalls </vfio-script >/tmp/vfio
  [ "$(head -c ${MESSAGE.length} /tmp/vfio)" = "${MESSAGE}" ] && result=ok || result=no
  check "vfio-pci moves a message to edu and back" "$result"
  [ "$(dd if=/tmp/vfio bs=1 skip=${MESSAGE.length} count=8 2>/dev/null | hexdump -ve '1/1 "%02x"')" = 0100000000000000 ] && result=ok || result=no
  check "edu's interrupt reaches an eventfd" "$result"
  [ "$(dd if=/tmp/vfio bs=1 skip=${MESSAGE.length + 8} count=4 2>/dev/null | hexdump -ve '1/1 "%02x"')" = 0a000000 ] && result=ok || result=no
  check "a write to where nothing is mapped is refused" "$result"
  sleep 1
  dmesg | grep -qE 'DMAR: .DMA Write.*00:08.0.*0x${UNMAPPED.toString(16)}.*reason 0x(05|79|71|85).|00:08.0: AMD-Vi: Event logged .IO_PAGE_FAULT.*address=0x${UNMAPPED.toString(16)} ' && result=ok || result=no
  check "the kernel tells of that fault" "$result"
fi
grep -E 'virtio|vfio|DMAR|AMD-Vi' /proc/interrupts

if [ $failed = 0 ]; then echo "${Mark.passed}"; else echo "${Mark.failed}"; fi
sleep 1
poweroff -f
`;

const SHELL = `dmesg -n 1
for i in 1 2 3 4 5; do [ -c /dev/hvc0 ] && break; sleep 1; done
while :; do setsid -c sh -c 'exec sh -i </dev/hvc0 >/dev/hvc0 2>&1'; [ -e /tmp/stay ] || break; done
poweroff -f
`;

/**
 * An initial file system: busybox, the modules of our devices, and an /init that does what it is for.
 * @param busybox path; @param moduleFolder lib/modules/RELEASE of the kernel; undefined for one that has all it needs built in
 * @throws GuestFailure
 */
export const guestFileSystem = (busybox: string, moduleFolder: string | undefined, purpose: GuestPurpose): Uint8Array => {
  const modules = moduleFolder === undefined ? [] : modulesOf(moduleFolder, MODULES);
  const folder = (path: string): CpioEntry => ({ kind: "folder", path, mode: 0o755 });
  return cpioArchive([
    ...["bin", "dev", "modules"].map(folder),
    { kind: "file", path: "bin/busybox", mode: 0o755, bytes: readFileSync(busybox) },
    ...modules.map(({ name, bytes }): CpioEntry => ({ kind: "file", path: `modules/${name}`, mode: 0o644, bytes })),
    { kind: "file", path: "bin/syscalls", mode: 0o755, bytes: syscallProgram() },
    { kind: "file", path: "vfio-script", mode: 0o644, bytes: vfioScript(EDU) },
    { kind: "file", path: "init", mode: 0o755, bytes: Buffer.from(`${START}${insertModules(modules)}\n${purpose === "self-test" ? SELF_TEST : SHELL}`) },
  ]);
};
