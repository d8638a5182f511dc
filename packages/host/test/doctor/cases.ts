/** Hosts with one thing broken, and hosts that are nearly so: by rule. */
import { buildEfiImage, buildLegacyImage, buildOptionRom } from "@iommu-lab/vga-arbiter";
import { endpoint } from "../made-hosts.ts";
import { dmar, drhd, ivhdRange, ivrs } from "../acpi-bytes.ts";
import { boot, DISK, functions, GPU, GUEST, gpuResources, hostdev, IGD, NIC, resizable, SOUND, window64, type Change } from "./sound-host.ts";

const u32 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];

/** An RMRR for an endpoint (type 1) or for a bridge with all below it (2), reached over bridges. VT-d §8.4. */
const rmrr = (type: number, ...path: readonly (readonly [number, number])[]): number[] => [1, 0, 24 + 6 + 2 * path.length, 0, 0, 0, 0, 0, ...u32(0x7b80_0000), ...u32(0), ...u32(0x7fff_ffff), ...u32(0), type, 6 + 2 * path.length, 0, 0, 0, 0, ...path.flat()];

const withOption = (option: string, log: readonly string[] = []): Change => ({ host: { commandLine: `quiet intel_iommu=on ${option}` }, log });
const off: Change = { groups: [], files: { "sys/class/iommu": undefined, "proc/interrupts": "  16:  5  IO-APIC   16-fasteoi   x\n" } };
const offAnd = (change: Change): Change => ({ ...off, ...change, files: { ...off.files, ...change.files } });
const quietBoot = ["[    0.000000] Linux version 6.12.0 (made)"];
const file = (device: string, name: string, text: string): Change => ({ device: { [device]: { [name]: text } } });
const logged = (line: string): Change => ({ log: [line] });
const amdGpu = (device: number, more: Change = {}): Change => ({ functions: functions({ gpu: { vendor: 0x1002, device } }), ...more });
const nvidiaRom = (device: number): Uint8Array => buildOptionRom([buildEfiImage({ vendor: 0x10de, device, classCode: 0x030000 })]);
const legacyRom = (): Uint8Array => buildOptionRom([buildLegacyImage({ vendor: 0x10de, device: 0x1402, classCode: 0x030000 })]);
const nic: Change = { assign: [NIC] };
const igd = (more: Change["functions"] = functions({ igd: { classCode: 0x030000, driver: undefined as never } })): Change => ({ assign: [IGD], functions: more });

/** A rule, a change that breaks it, one that nearly does. */
export const CASES: readonly (readonly [id: string, why: string, fires: Change, near: Change])[] = [
  ["HOST-001", "firmware without a table", offAnd({ host: { tables: { FACP: new Uint8Array(64) }, dmesg: quietBoot, commandLine: "quiet" } }), offAnd({ host: { dmesg: quietBoot } })],
  ["HOST-002", "no intel_iommu=on, and nothing came up", offAnd({ host: { commandLine: "quiet", dmesg: quietBoot } }), { host: { commandLine: "quiet", dmesg: quietBoot } }],
  ["HOST-003", "intel_iommu=off", offAnd({ host: { commandLine: "intel_iommu=off", dmesg: quietBoot } }), withOption("iommu=pt amd_iommu=off")],
  ["HOST-004", "amd_iommu=on", withOption("amd_iommu=on"), withOption("amd_iommu=pgtbl_v2")],
  ["HOST-005", "only the option was parsed", offAnd({ host: { dmesg: [...quietBoot, "DMAR: IOMMU enabled"] } }), { host: { dmesg: [...quietBoot, "DMAR: IOMMU enabled"] } }],
  ["HOST-006", "a broken DMAR", logged("DMAR: [Firmware Bug]: Your BIOS is broken; DMAR reported at address fed91000 returns all ones!"), logged("ACPI BIOS Error (bug): Could not resolve symbol")],
  ["HOST-007", "an I/O APIC that is not in the table", { host: { tables: { IVRS: ivrs(ivhdRange(8, 0xffff)) } }, log: ["[Firmware Bug]: AMD-Vi: IOAPIC[33] not in IVRS table"] }, { host: { tables: { IVRS: ivrs(ivhdRange(8, 0xffff)) } }, log: ["AMD-Vi: IOAPIC 33 found"] }],
  ["HOST-008", "iommu=pt", withOption("iommu=pt"), withOption("iommu=nopt")],
  ["HOST-009", "memory encryption", logged("iommu: Memory encryption detected - Disabling default IOMMU Passthrough"), logged("Memory encryption is not active")],
  ["HOST-010", "units that differ", logged("DMAR: IOMMU feature sc_support inconsistent"), logged("DMAR: IOMMU feature sc_support")],
  ["HOST-011", "no queue", logged("DMAR: dmar0: Using Register based invalidation"), logged("DMAR: dmar0: Using Queued invalidation")],
  ["HOST-012", "the platform's opt-in", logged("DMAR: Intel-IOMMU force enabled due to platform opt in"), {}],
  ["HOST-013", "several values behind one option", withOption("intel_iommu=on,sm_on"), withOption("iommu.strict=1")],
  ["HOST-017", "units without large pages", { files: { "sys/class/iommu/dmar0/intel-iommu/cap": "8d20780106f0466\n" } }, { files: { "sys/class/iommu/dmar0/intel-iommu/cap": "8d20784106f0466\n" } }],
  ["HOST-014", "a processor without virtualization", { files: { "proc/cpuinfo": "vendor_id\t: GenuineIntel\nflags\t\t: fpu vme\n" } }, { files: { "proc/cpuinfo": "vendor_id\t: AuthenticAMD\nflags\t\t: fpu svm\n" } }],
  ["HOST-015", "a virtual machine without an IOMMU", offAnd({ host: { dmesg: quietBoot }, files: { "proc/cpuinfo": "vendor_id\t: GenuineIntel\nflags\t\t: vmx hypervisor\n" } }), { files: { "proc/cpuinfo": "vendor_id\t: GenuineIntel\nflags\t\t: vmx hypervisor\n" } }],
  ["HOST-016", "an unsigned module under Secure Boot", { files: { "proc/modules": "vendor_reset 16384 0 - Live 0x0\n", "sys/kernel/security/lockdown": "none [integrity] confidentiality\n" }, log: ["Loading of unsigned module is rejected"] }, { files: { "proc/modules": "vendor_reset 16384 0 - Live 0x0\n" }, log: ["Loading of unsigned module is rejected"] }],
  ["GRP-001", "a function in no group", { groups: [[0, ["0000:00:00.0"]]] }, {}],
  ["GRP-002", "the card's sound stays with its driver", { assign: [GPU], functions: functions({ sound: { driver: "snd_hda_intel" } }) }, { assign: [GPU], functions: functions({ sound: { driver: "pci-stub" } }) }],
  ["GRP-004", "a host bridge among the chosen", { assign: ["0000:00:00.0"] }, { assign: [NIC] }],
  ["GRP-005", "the disk that is mounted as /", { assign: [DISK] }, { assign: [DISK], files: { "proc/mounts": "/dev/sda1 / ext4 rw 0 0\n", "sys/block/sda/size": "1\n" } }],
  ["GRP-005", "the disk that is mounted as /, by a partition of a disk with a longer name", { assign: [DISK], files: { "proc/mounts": "/dev/nvme0n1 /boot ext4 rw 0 0\n" } }, { assign: [DISK], files: { "proc/mounts": "/dev/nvme0n10p1 / ext4 rw 0 0\n", "sys/block/nvme0n10/size": "1\n" } }],
  ["GRP-005", "the network that is routed", { assign: [NIC], files: { "proc/net/route": "Iface\tDestination\neth0\t00000000\n" } }, { assign: [NIC], files: { "proc/net/route": "Iface\tDestination\neth00\t00000000\n" } }],
  ["GRP-006", "a group with others than its slot", { groups: [[1, ["0000:00:01.0", GPU, SOUND, NIC]]] }, { groups: [[1, ["0000:00:01.0", GPU, SOUND]]] }],
  ["GRP-007", "a group that the rules do not give", { groups: [[1, ["0000:00:01.0", GPU, SOUND, NIC, "0000:00:1c.0"]], [0, ["0000:00:00.0"]], [2, [IGD]], [6, ["0000:00:1d.0"]], [13, [DISK]]] }, {}],
  ["GRP-008", "pcie_acs_override=", withOption("pcie_acs_override=downstream"), withOption("pcie_aspm=off")],
  ["GRP-009", "pci=disable_acs_redir=", withOption("pci=disable_acs_redir=0000:00:1c.0"), withOption("pci=noaer")],
  ["GRP-011", "a group of two minds", logged("vfio-pci 0000:01:00.0: Device needs domain type 1, but device 0000:01:00.1 in the same iommu group requires type 3 - using default"), logged("vfio-pci 0000:02:00.0: Device needs domain type 1, but device 0000:02:00.1 in the same iommu group requires type 3 - using default")],
  ["IRQ-001", "no line and no IR- interrupt", { host: { dmesg: boot.slice(0, 3) }, files: { "proc/interrupts": "  16:  5  IO-APIC   16-fasteoi   x\n" } }, { host: { dmesg: boot.slice(0, 3) } }],
  ["IRQ-002", "allow_unsafe_interrupts", { files: { "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts": "Y\n" } }, withOption("vfio_iommu_type1.allow_unsafe_interrupts=0")],
  ["IRQ-003", "x2APIC opt-out", logged("DMAR-IR: x2apic is disabled because BIOS sets x2apic opt out bit."), {}],
  ["IRQ-004", "a chipset with the erratum", logged("This system BIOS has enabled interrupt remapping on a chipset that contains an erratum making that feature unstable."), logged("This system BIOS has enabled interrupt remapping")],
  ["IRQ-005", "switching on failed", logged("Failed to enable irq remapping. You are vulnerable to irq-injection attacks."), {}],
  ["IRQ-006", "no posted interrupts", { files: { "sys/class/iommu/dmar0/intel-iommu/cap": "d2078c106f0466\n" } }, {}],
  ["RMRR-001", "an RMRR for a network card", { ...nic, host: { tables: { DMAR: dmar(drhd(true), rmrr(1, [0x1c, 0], [0, 0])) } } }, { host: { tables: { DMAR: dmar(drhd(true), rmrr(1, [1, 0], [0, 0])) } } }],
  ["RMRR-001", "an RMRR for a bridge and all below it", { ...nic, host: { tables: { DMAR: dmar(drhd(true), rmrr(2, [0x1c, 0])) } } }, { ...nic, host: { tables: { DMAR: dmar(drhd(true), rmrr(2, [0x1d, 0])) } } }],
  ["RMRR-002", "a region of type direct", { files: { "sys/kernel/iommu_groups/11/reserved_regions": "0x000000007b800000 0x000000007fffffff direct\n" } }, { files: { "sys/kernel/iommu_groups/11/reserved_regions": "0x000000007b800000 0x000000007fffffff direct-relaxable\n" } }],
  ["RMRR-003", "the kernel's refusal", logged("vfio-pci 0000:01:00.0: Firmware has requested this device have a 1:1 IOMMU mapping, rejecting configuring the device without a 1:1 mapping. Contact your platform vendor."), logged("vfio-pci 0000:02:00.0: Firmware has requested this device have a 1:1 IOMMU mapping, rejecting configuring the device without a 1:1 mapping.")],
  ["RMRR-004", "a kernel that relaxes all", withOption("intel_iommu=relax_rmrr", ["DMAR: Intel-IOMMU: assuming all RMRRs are relaxable. This can lead to instability or data loss"]), {}],
  ["RST-001", "no reset_method", { functions: functions({ gpu: { resetMethods: undefined as never } }) }, { functions: functions({ gpu: { resetMethods: "pm" } }) }],
  ["RST-002", "a bus reset that hits what stays", { assign: [GPU], functions: functions({ gpu: { resetMethods: "bus" } }) }, { functions: functions({ gpu: { resetMethods: "bus" } }) }],
  ["RST-003", "a broken FLR", { functions: functions({ gpu: { vendor: 0x1022, device: 0x149c } }) }, { functions: functions({ gpu: { vendor: 0x1022, device: 0x149d } }) }],
  ["RST-004", "a broken bus reset", { functions: functions({ gpu: { vendor: 0x168c, device: 0x003c } }) }, { functions: functions({ gpu: { vendor: 0x168c, device: 0x0042 } }) }],
  ["RST-005", "Navi 10 without vendor-reset", amdGpu(0x731f), amdGpu(0x73bf)],
  ["RST-005", "vendor-reset is loaded, but not chosen", amdGpu(0x731f, { files: { "proc/modules": "vendor_reset 16384 0 - Live 0x0\n" } }), { functions: functions({ gpu: { vendor: 0x1002, device: 0x731f, resetMethods: "device_specific" } }), files: { "proc/modules": "vendor_reset 16384 0 - Live 0x0\n" } }],
  ["RST-006", "an RX 9000", amdGpu(0x7550), amdGpu(0x744c)],
  ["RST-007", "header type 7f", { functions: functions({ gpu: { raw: { 0x0e: [0x7f] } } }) }, {}],
  ["PWR-001", "stuck in D3cold", logged("vfio-pci 0000:01:00.0: Unable to change power state from D3cold to D0, device inaccessible"), logged("vfio-pci 0000:01:00.0: enabling device")],
  ["PWR-002", "not ready in time", logged("vfio-pci 0000:01:00.0: not ready 65535ms after resume; giving up"), logged("vfio-pci 0000:01:00.0: not ready 1023ms after FLR; waiting")],
  ["BAR-001", "a BAR without a place", file(GPU, "resource", gpuResources([0, 0xfff_ffff, 0x2014_220c])), file(GPU, "resource", gpuResources(window64(0x40_0000_0000, 0x1000_0000)))],
  ["BAR-002", "32 GiB of BARs", file(GPU, "resource", gpuResources(window64(0x80_0000_0000, 0x8_0000_0000))), file(GPU, "resource", gpuResources(window64(0x80_0000_0000, 0x4_0000_0000)))],
  ["BAR-003", "a resized BAR", { functions: functions({ gpu: { capabilities: resizable() as never } }), ...file(GPU, "resource", gpuResources(window64(0x80_0000_0000, 0x2_0000_0000))) }, { functions: functions({ gpu: { capabilities: resizable() as never } }) }],
  ["BAR-004", "a guest past the IOMMU's reach", { files: { "proc/cpuinfo": "vendor_id\t: GenuineIntel\nflags\t\t: vmx\naddress sizes\t: 46 bits physical, 48 bits virtual\n", "sys/class/iommu/dmar0/intel-iommu/cap": "8d2078c10630466\n" } }, { files: { "proc/cpuinfo": "vendor_id\t: GenuineIntel\nflags\t\t: vmx\naddress sizes\t: 39 bits physical, 48 bits virtual\n" } }],
  ["BAR-005", "INTx that cannot be masked", logged("vfio-pci 0000:01:00.0: Masking broken INTx support"), {}],
  ["ROM-001", "a shadowed ROM", { functions: functions({ gpu: { bootVga: true } }) }, {}],
  ["ROM-002", "a legacy ROM for a UEFI guest", { roms: new Map([[GPU, legacyRom()]]) }, { roms: new Map([[GPU, nvidiaRom(0x1402)]]) }],
  ["ROM-003", "another card's ROM", { roms: new Map([[GPU, nvidiaRom(0x2204)]]) }, { roms: new Map([[GPU, nvidiaRom(0x1402)]]) }],
  ["AUD-001", "the card's sound is left", { assign: [GPU] }, {}],
  ["AUD-002", "two sounds of one id", { assign: [SOUND], functions: [...functions(), endpoint("0000:00:1f.3", { vendor: 0x10de, device: 0x0fba, classCode: 0x040300 })], host: { commandLine: "intel_iommu=on vfio-pci.ids=10de:1402,10de:0fba" } }, { assign: [SOUND], host: { commandLine: "intel_iommu=on vfio-pci.ids=10de:1402,10de:0fba" } }],
  ["SRV-001", "virtual functions are on", { ...nic, ...file(NIC, "sriov_numvfs", "2") }, nic],
  ["SRV-002", "a device that vfio-pci refuses", { ...nic, functions: functions({ nic: { device: 0x37c8, classCode: 0x0b4000 } }) }, { ...nic, functions: functions({ nic: { device: 0x37ca, classCode: 0x0b4000 } }) }],
  ["VGA-001", "the boot display", { functions: functions({ gpu: { bootVga: true } }) }, {}],
  ["VGA-002", "a frame buffer in its BAR", { files: { "proc/iomem": "e0000000-efffffff : 0000:01:00.0\n  e0000000-e07fffff : simple-framebuffer.0\n" } }, {}],
  ["VGA-003", "efifb:off where simpledrm draws", { ...withOption("video=efifb:off"), files: { "boot/config-6.12.0": "CONFIG_DRM_SIMPLEDRM=y\n" } }, withOption("video=efifb:off")],
  ["VGA-004", "two VGA devices", { functions: functions({ igd: { classCode: 0x030000 } }) }, { functions: functions({ igd: { classCode: 0x030000 } }), files: { "etc/modprobe.d/vfio.conf": "options vfio-pci ids=10de:1402 disable_vga=1\n" } }],
  ["IGD-001", "integrated graphics that does not decode VGA", igd(functions({ igd: { classCode: 0x030000, driver: "vfio-pci" }, bridge: { raw: { 0x50: [2, 0] } } })), igd(functions({ igd: { classCode: 0x030000, driver: "vfio-pci" } }))],
  ["DRV-001", "nouveau came first", { functions: functions({ gpu: { driver: "nouveau" } }), host: { commandLine: "intel_iommu=on vfio-pci.ids=10de:1402" } }, { host: { commandLine: "intel_iommu=on vfio-pci.ids=10de:1402" } }],
  ["DRV-002", "options for what is built in", { files: { "etc/modprobe.d/vfio.conf": "options vfio-pci ids=10de:1402\n", "boot/config-6.12.0": "CONFIG_VFIO_PCI=y\n" } }, { files: { "etc/modprobe.d/vfio.conf": "options vfio-pci ids=10de:1402\n" } }],
  ["DRV-003", "vfio_virqfd on 6.12", { files: { "etc/initramfs-tools/modules": "vfio_virqfd\n" } }, { files: { "etc/initramfs-tools/modules": "# vfio_virqfd\n" } }],
  ["DRV-003", "vfio_virqfd on 6.2", { files: { "etc/mkinitcpio.conf": "MODULES=(vfio_pci vfio vfio_virqfd)\n" }, host: { version: "Linux version 6.2.0" } }, { files: { "etc/mkinitcpio.conf": "MODULES=(vfio_pci vfio vfio_virqfd)\n" }, host: { version: "Linux version 6.1.0" } }],
  ["DRV-004", "two cards of one id", { functions: [...functions(), endpoint("0000:00:1b.0", { vendor: 0x10de, device: 0x1402, classCode: 0x030000 })], host: { commandLine: "intel_iommu=on vfio-pci.ids=10de:1402" } }, { functions: [...functions(), endpoint("0000:00:1b.0", { vendor: 0x10de, device: 0x1402, classCode: 0x030000 })] }],
  ["DRV-005", "the host's picture is on it", { functions: functions({ gpu: { driver: "amdgpu", bootVga: true } }) }, { functions: functions({ gpu: { bootVga: true } }) }],
  ["DRV-006", "a stale driver_override", file(GPU, "driver_override", "nvidia"), file(GPU, "driver_override", "(null)")],
  ["DRV-007", "a script writes new_id", { files: { "etc/rc.local": "echo 10de 1402 > /sys/bus/pci/drivers/vfio-pci/new_id\n" } }, { files: { "etc/rc.local": "# echo 10de 1402 > /sys/bus/pci/drivers/vfio-pci/new_id\n" } }],
  ["DRV-008", "dracut does not know", { files: { "etc/os-release": "ID=fedora\n" }, host: { commandLine: "intel_iommu=on vfio-pci.ids=10de:1402" } }, { files: { "etc/os-release": "ID=fedora\n", "etc/dracut.conf.d/vfio.conf": "force_drivers+=\" vfio vfio_pci \"\n" }, host: { commandLine: "intel_iommu=on vfio-pci.ids=10de:1402" } }],
  ["MEM-001", "the lock limit was hit", logged("vfio_pin_pages_remote: RLIMIT_MEMLOCK (65536) exceeded"), {}],
  ["MEM-002", "small pages behind a virtual IOMMU", { guest: GUEST({ devices: "<iommu model='virtio'/>" }) }, { guest: GUEST({ devices: "<iommu model='virtio'/>", rest: "<memoryBacking><hugepages/></memoryBacking>" }) }],
  ["MEM-003", "a balloon", { guest: GUEST().replace("<memballoon model='none'/>", "") }, {}],
  ["MEM-004", "too few huge pages", { guest: GUEST({ rest: "<memoryBacking><hugepages/></memoryBacking>" }), files: { "proc/meminfo": "HugePages_Free:     2047\nHugepagesize:       2048 kB\n" } }, { guest: GUEST({ rest: "<memoryBacking><hugepages/></memoryBacking>" }), files: { "proc/meminfo": "HugePages_Free:     2048\nHugepagesize:       2048 kB\n" } }],
  ["MEM-005", "memory of another node", { guest: GUEST({ rest: "<numatune><memory nodeset='1-2'/></numatune>" }) }, { guest: GUEST({ rest: "<numatune><memory nodeset='0,3'/></numatune>" }) }],
  ["PERM-001", "a device file for root alone", { files: { "dev/vfio.ls": "crw------- 1 root root 10, 196 Nov 21 10:00 vfio\n" } }, {}],
  ["GST-001", "KVM is not hidden", { guest: GUEST().replace("<hidden state='on'/>", "") }, {}],
  ["GST-002", "no caching mode", { guest: GUEST({ devices: "<iommu model='intel'><driver intremap='on'/></iommu>" }) }, { guest: GUEST({ devices: "<iommu model='intel'><driver intremap='on' caching_mode='on'/></iommu>" }) }],
  ["GST-003", "no split I/O APIC", { guest: GUEST({ devices: "<iommu model='intel'><driver intremap='on' caching_mode='on'/></iommu>" }).replace("<ioapic driver='qemu'/>", "") }, { guest: GUEST().replace("<ioapic driver='qemu'/>", "") }],
  ["GST-005", "one group in two slots", { guest: GUEST({ devices: "<iommu model='virtio'/>", hostdev: hostdev(GPU, 1, 0, 0) + hostdev(SOUND, 2, 0, 0) }) }, { guest: GUEST({ hostdev: hostdev(GPU, 1, 0, 0) + hostdev(SOUND, 2, 0, 0) }) }],
  ["GST-006", "slot 1 behind a root port", { guest: GUEST({ hostdev: hostdev(GPU, 1, 1, 0) }) }, { guest: GUEST({ hostdev: hostdev(GPU, 3, 1, 0) }) }],
  ["GST-007", "function 1 alone", { guest: GUEST({ hostdev: hostdev(GPU, 1, 0, 1) }) }, {}],
];
