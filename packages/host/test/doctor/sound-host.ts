/**
 * A host on which every rule about it holds, and ways to break one thing. Written for these tests from the forms that
 * sysfs and the kernel use; no machine was captured.
 */
import { parseAddress } from "@iommu-lab/pci-bus";
import { msi, pciExpress, PcieType, powerManagement, resizableBar } from "@iommu-lab/pci-bus/capabilities";
import type { BuiltFunction, BuiltHost } from "../../src/bundled/build-host.ts";
import { diagnose, parseDomainXml, type Diagnosis, type RuleResult } from "../../src/doctor/index.ts";
import { readSysfs, realPath, type MemoryTree } from "../../src/index.ts";
import { dmar, drhd } from "../acpi-bytes.ts";
import { ACS_ON, bridge, endpoint, hostOf, withGroups } from "../made-hosts.ts";

export const GPU = "0000:01:00.0";
export const SOUND = "0000:01:00.1";
export const NIC = "0000:02:00.0";
export const DISK = "0000:03:00.0";
export const IGD = "0000:00:02.0";

const resources = (...lines: readonly (readonly [start: number, end: number, flags: number])[]): string =>
  Array.from({ length: 13 }, (_, i) => (lines[i] ?? [0, 0, 0]).map((value) => `0x${value.toString(16).padStart(16, "0")}`).join(" ")).join("\n");

/** A 64-bit prefetchable window of `bytes` at `start`. */
export const window64 = (start: number, bytes: number): readonly [number, number, number] => [start, start + bytes - 1, 0x14220c];
export const gpuResources = (...lines: readonly (readonly [number, number, number])[]): string => resources([0xf600_0000, 0xf6ff_ffff, 0x40200], ...lines);

export const gpu = (more: Partial<BuiltFunction> = {}): BuiltFunction =>
  endpoint(GPU, { vendor: 0x10de, device: 0x1402, classCode: 0x030000, multifunction: true, driver: "vfio-pci", bootVga: false, resetMethods: "flr bus", interruptPin: 1, ...more });
const sound = (more: Partial<BuiltFunction> = {}): BuiltFunction => endpoint(SOUND, { vendor: 0x10de, device: 0x0fba, classCode: 0x040300, driver: "vfio-pci", resetMethods: "bus", ...more });

export const boot = ["[    0.000000] Linux version 6.12.0 (made)", "[    0.000000] Command line: quiet intel_iommu=on", "[    0.100000] DMAR: Intel(R) Virtualization Technology for Directed I/O", "[    0.100000] DMAR-IR: Enabled IRQ remapping in x2apic mode"];

/** Functions of the sound host; what is given replaces the one of its name. */
export const functions = (change: { readonly gpu?: Partial<BuiltFunction>; readonly sound?: Partial<BuiltFunction>; readonly nic?: Partial<BuiltFunction>; readonly igd?: Partial<BuiltFunction>; readonly bridge?: Partial<BuiltFunction> } = {}): BuiltFunction[] => [
  endpoint("0000:00:00.0", { type: "conventional", vendor: 0x8086, device: 0x3ec2, classCode: 0x060000, ...change.bridge }),
  bridge("0000:00:01.0", 1, { vendor: 0x8086, device: 0x1901, acs: ACS_ON, driver: "pcieport", below: [gpu(change.gpu), sound(change.sound)] }),
  endpoint(IGD, { type: "conventional", vendor: 0x8086, device: 0x3e92, classCode: 0x038000, driver: "i915", resetMethods: "pm", ...change.igd }),
  bridge("0000:00:1c.0", 2, { vendor: 0x8086, device: 0xa338, acs: ACS_ON, driver: "pcieport", below: [endpoint(NIC, { vendor: 0x8086, device: 0x1533, classCode: 0x020000, driver: "igb", resetMethods: "flr", ...change.nic })] }),
  bridge("0000:00:1d.0", 3, { vendor: 0x8086, device: 0xa330, acs: ACS_ON, driver: "pcieport", below: [endpoint(DISK, { driver: "nvme", resetMethods: "flr" })] }),
];

const GROUPS: readonly (readonly [number, readonly string[]])[] = [[0, ["0000:00:00.0"]], [1, ["0000:00:01.0"]], [2, [IGD]], [5, ["0000:00:1c.0"]], [6, ["0000:00:1d.0"]], [11, [GPU, SOUND]], [12, [NIC]], [13, [DISK]]];

/** One thing that is different from the sound host. */
export interface Change {
  readonly functions?: BuiltFunction[];
  readonly groups?: readonly (readonly [number, readonly string[]])[];
  readonly host?: Partial<BuiltHost>;
  /** Lines that the log has besides those of the boot. */
  readonly log?: readonly string[];
  readonly files?: Readonly<Record<string, string | Uint8Array | undefined>>;
  /** Files in a function's folder. */
  readonly device?: Readonly<Record<string, Readonly<Record<string, string | Uint8Array | undefined>>>>;
  /** A libvirt domain. */
  readonly guest?: string;
  readonly roms?: ReadonlyMap<string, Uint8Array>;
  /** What is assigned; the GPU and its sound without it. */
  readonly assign?: readonly string[];
}

const CPU = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 158\nmodel name\t: Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz\nflags\t\t: fpu vme vmx ept\naddress sizes\t: 39 bits physical, 48 bits virtual\n";
const MOUNTS = "/dev/nvme0n1p2 / ext4 rw 0 0\n";

const FILES: Readonly<Record<string, string>> = {
  "proc/cpuinfo": CPU,
  "proc/interrupts": "            CPU0\n  16:  5  IR-IO-APIC   16-fasteoi   i801_smbus\n 120:  0  DMAR-MSI    0-edge      dmar0\n",
  "proc/iomem": "00000000-00000fff : Reserved\n00001000-0009ffff : System RAM\nc0000000-cfffffff : 0000:00:02.0\n  c0000000-c07fffff : BOOTFB\n",
  "proc/mounts": MOUNTS,
  "proc/net/route": "Iface\tDestination\n",
  "proc/modules": "vfio_pci 16384 0 - Live 0x0000000000000000\n",
  "proc/meminfo": "MemTotal: 32768000 kB\nHugePages_Free:     4096\nHugepagesize:       2048 kB\n",
  "sys/class/iommu/dmar0/intel-iommu/cap": "8d2078c106f0466\n",
  "sys/class/iommu/dmar0/intel-iommu/ecap": "f020df\n",
  "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts": "N\n",
  "sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
  "etc/os-release": "ID=debian\n",
  "etc/initramfs-tools/modules": "vfio\nvfio_pci\n",
  "etc/rc.local": "exit 0\n",
  "boot/config-6.12.0": "CONFIG_VFIO_PCI=m\n# CONFIG_SYSFB_SIMPLEFB is not set\n",
  "dev/vfio.ls": "crw-rw-rw- 1 root root 10, 196 Nov 21 10:00 vfio\n",
};

const DEVICE_FILES: Change["device"] = {
  [GPU]: { resource: gpuResources(window64(0xe000_0000, 0x1000_0000)), power_state: "D0", driver_override: "vfio-pci", numa_node: "0" },
  [SOUND]: { resource: resources([0xf708_0000, 0xf708_3fff, 0x40200]), power_state: "D0", driver_override: "vfio-pci", numa_node: "0" },
  [IGD]: { resource: resources([0xc000_0000, 0xcfff_ffff, 0x14220c]), power_state: "D0", driver_override: "(null)", numa_node: "0" },
  [NIC]: { resource: resources([0xf700_0000, 0xf70f_ffff, 0x40200]), power_state: "D0", driver_override: "(null)", sriov_numvfs: "0", numa_node: "0" },
  [DISK]: { resource: resources([0xf710_0000, 0xf710_3fff, 0x140204]), power_state: "D0", driver_override: "(null)", numa_node: "0" },
};

export const GUEST = (parts: { readonly features?: string; readonly devices?: string; readonly rest?: string; readonly hostdev?: string } = {}): string =>
  `<domain type='kvm'><memory unit='GiB'>4</memory>${parts.rest ?? ""}<os firmware='efi'><type machine='q35'>hvm</type></os><features><kvm><hidden state='on'/></kvm><hyperv><vendor_id state='on' value='x'/></hyperv><ioapic driver='qemu'/>${parts.features ?? ""}</features><devices><controller type='pci' index='1' model='pcie-root-port'/><controller type='pci' index='2' model='pcie-root-port'/>${parts.hostdev ?? hostdev(GPU, 1, 0, 0) + hostdev(SOUND, 1, 0, 1)}<memballoon model='none'/>${parts.devices ?? ""}</devices></domain>`;

export const hostdev = (host: string, bus: number, slot: number, fn: number): string => {
  const requester = parseAddress(host)?.requester ?? 0;
  return `<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x${(requester >> 8).toString(16)}' slot='0x${((requester >> 3) & 31).toString(16)}' function='0x${(requester & 7).toString(16)}'/></source><address type='pci' bus='0x${bus.toString(16)}' slot='0x${slot.toString(16)}' function='0x${fn.toString(16)}'/></hostdev>`;
};

const write = (tree: MemoryTree, path: string, contents: string | Uint8Array | undefined): void => {
  if (contents === undefined) tree.remove(path);
  else tree.addFile(path, contents);
};

/** The files of the sound host with a change. */
export const treeWith = (change: Change): MemoryTree => {
  const tree = withGroups(hostOf(change.functions ?? functions(), { commandLine: "quiet intel_iommu=on", dmesg: [...boot, ...(change.log ?? [])], tables: { DMAR: dmar(drhd(true)) }, ...change.host }), change.groups ?? GROUPS);
  for (const [path, text] of Object.entries(FILES)) write(tree, path, text);
  tree.addLink("sys/block/nvme0n1", "../devices/pci0000:00/0000:00:1d.0/0000:03:00.0/nvme/nvme0/nvme0n1");
  tree.addLink("sys/class/net/eth0", "../../devices/pci0000:00/0000:00:1c.0/0000:02:00.0/net/eth0");
  for (const files of [DEVICE_FILES, change.device ?? {}]) {
    for (const [name, entries] of Object.entries(files)) {
      const folder = realPath(tree, `sys/bus/pci/devices/${name}`);
      for (const [file, contents] of Object.entries(entries)) if (folder !== undefined && (tree.read(`${folder}/config`) || tree.read(`${folder}/vendor`))) write(tree, `${folder}/${file}`, contents);
    }
  }
  for (const [path, contents] of Object.entries(change.files ?? {})) write(tree, path, contents);
  return tree;
};

export const diagnoseWith = (change: Change = {}): Diagnosis => {
  const devices = (change.assign ?? [GPU, SOUND]).map((name) => {
    const address = parseAddress(name);
    if (!address) throw new RangeError(`"${name}" is no PCI address.`);
    return address;
  });
  return diagnose(readSysfs(treeWith(change)), { devices, guest: parseDomainXml(change.guest ?? GUEST(), "domain XML"), roms: change.roms });
};

/** The answers of one rule: for the first function assigned, or the machine. */
export const answerOf = (diagnosis: Diagnosis, id: string): RuleResult => {
  const found = diagnosis.host.find((result) => result.id === id) ?? diagnosis.devices.flatMap(({ results }) => results).find((result) => result.id === id);
  if (!found) throw new RangeError(`No rule is named ${id}.`);
  return found;
};

export const resizable = (): BuiltFunction["capabilities"] => [powerManagement({ PMC: { Version: 3 } }), msi(), pciExpress({ type: PcieType.Endpoint, deviceCapabilities: { RoleBasedErrorReporting: 1 }, linkCapabilities: { MaxLinkSpeed: 3, MaximumLinkWidth: 4 } }), resizableBar([{ bar: 1, supported: [8, 13], size: 13 }])];
