import type { GuestDevice, GuestDomain } from "./guest-domain.ts";
import type { DeviceView } from "./device-view.ts";
import type { HostView } from "./host-view.ts";
import { fail, notConcerned, pass, seen, unknown, type DeviceRule, type HostRule, type Outcome } from "./rule.ts";

const NEEDED = "the VM's libvirt XML (virsh dumpxml NAME) or QEMU's command line";

/** A check that needs the VM's set-up. */
const withGuest = (check: (guest: GuestDomain, host: HostView) => Outcome) => (host: HostView): Outcome => (host.guest ? check(host.guest, host) : unknown(NEEDED));

const checkHidden = (device: DeviceView, host: HostView): Outcome => {
  if (device.fn.vendor !== 0x10de || !device.isDisplay) return notConcerned("It is no NVIDIA display.");
  const { guest } = host;
  if (!guest) return unknown(NEEDED);
  if (guest.kvmHidden && guest.hypervVendorId) return pass(seen(guest.source, "KVM is hidden, and Hyper-V's vendor id is changed"));
  return fail(seen(guest.source, "KVM is not hidden"), "Only drivers before 465 on consumer cards ask for it: error 43 in Windows. With a newer driver leave it. Else <kvm><hidden state='on'/></kvm> and <vendor_id state='on' value='…'/>; some AMD RDNA3 and later Windows drivers are reported to want the same.");
};

const checkCaching = withGuest((guest) => {
  if (guest.viommu?.model !== "intel" || guest.devices.length === 0) return notConcerned("There is no virtual VT-d in front of assigned functions.");
  return guest.viommu.cachingMode ? pass(seen(guest.source, "caching mode is on")) : fail(seen(guest.source, "intel-iommu without caching mode"), "Without it the host does not learn of the guest's mappings: QEMU says \"Device assignment is not allowed without enabling caching-mode=on\". <driver caching_mode='on'/>.");
});

const checkSplit = withGuest((guest) => {
  if (!guest.viommu?.intremap || (guest.viommu.model !== "intel" && guest.viommu.model !== "amd")) return notConcerned("There is no virtual interrupt remapping.");
  return guest.splitIrqchip ? pass(seen(guest.source, "the I/O APIC is QEMU's")) : fail(seen(guest.source, "interrupt remapping with the kernel's I/O APIC"), "Interrupt remapping needs QEMU's I/O APIC: <ioapic driver='qemu'/> among the features, kernel-irqchip=split for QEMU.");
});

const checkOrder = withGuest((guest) => {
  if (guest.viommu?.first === undefined || guest.viommu.model === "virtio") return notConcerned("libvirt puts a virtual IOMMU in the right place; virtio-iommu may be last.");
  return guest.viommu.first ? pass(seen(guest.source, "it comes first")) : fail(seen(guest.source, `${guest.viommu.model}-iommu after other devices`), "Devices before it on QEMU's command line are not behind it: put -device intel-iommu first.");
});

const at = ({ bus, slot }: NonNullable<GuestDevice["guest"]>): string => `${bus}:${slot}`;

/** Functions of one group of the host must share one address space: the same guest slot, or one conventional bus. */
const checkSpaces = withGuest((guest, host) => {
  if (!guest.viommu) return notConcerned("There is no virtual IOMMU: the guest has one address space.");
  const byGroup = new Map<number, GuestDevice[]>();
  for (const device of guest.devices) {
    const group = host.at(device.host)?.group;
    if (group !== undefined) byGroup.set(group, [...(byGroup.get(group) ?? []), device]);
  }
  const space = (device: GuestDevice): string | undefined => device.guest && (guest.buses.get(device.guest.bus) === "pcie-to-pci-bridge" ? `${device.guest.bus}` : at(device.guest));
  const split = [...byGroup].filter(([, devices]) => new Set(devices.map(space)).size > 1);
  const unplaced = split.filter(([, devices]) => devices.some(({ guest: place }) => place === undefined));
  if (split.length > unplaced.length) return fail(split.map(([group, devices]) => seen(`IOMMU group ${group}`, devices.map((device) => `${device.host} at ${device.guest ? at(device.guest) : "?"}`).join(", "))), "With a virtual IOMMU these functions get address spaces of their own, and one group cannot: QEMU says \"group N used in multiple address spaces\". Put them into one guest slot, or behind one PCIe-to-PCI bridge.");
  return unplaced.length > 0 ? unknown("guest addresses of all assigned functions") : pass(seen(guest.source, "each group is in one address space"));
});

const placed = (guest: GuestDomain): readonly GuestDevice[] => guest.devices.filter((device) => device.guest !== undefined);

const checkSlots = withGuest((guest) => {
  const lost = placed(guest).filter((device) => guest.buses.get(device.guest?.bus ?? -1) === "pcie-root-port" && device.guest?.slot !== 0);
  return lost.length > 0 ? fail(lost.map((device) => seen(guest.source, `${device.host} in slot ${device.guest?.slot ?? 0} behind a root port`)), "Behind a PCI Express port only slot 0 is looked at; QEMU takes it and the guest sees nothing. Give it slot 0x00.") : pass(seen(guest.source, "slot 0 behind root ports"));
});

const checkFunctionZero = withGuest((guest) => {
  const all = [...guest.addresses, ...placed(guest).map(({ guest: place }) => place)].filter((place) => place !== undefined);
  const lost = placed(guest).filter(({ guest: place }) => place && place.function !== 0 && !all.some((other) => other.bus === place.bus && other.slot === place.slot && other.function === 0));
  return lost.length > 0 ? fail(lost.map((device) => seen(guest.source, `${device.host} is function ${device.guest?.function ?? 0} of a slot without function 0`)), "A slot without function 0 is empty for the guest; QEMU does not tell. Move it to function 0, or put the card's first function there (multifunction='on').") : pass(seen(guest.source, "every slot has a function 0"));
});

/** What the VM asks of QEMU. */
export const GUEST_RULES: readonly HostRule[] = [
  { about: "host", id: "GST-002", title: "A virtual VT-d tells the host of its mappings", severity: "block", optional: true, check: checkCaching },
  { about: "host", id: "GST-003", title: "Virtual interrupt remapping has the I/O APIC it needs", severity: "block", optional: true, check: checkSplit },
  { about: "host", id: "GST-004", title: "The virtual IOMMU stands before the devices", severity: "error", optional: true, check: checkOrder },
  { about: "host", id: "GST-005", title: "Each group of the host is in one address space of the guest", severity: "block", optional: true, check: checkSpaces },
  { about: "host", id: "GST-006", title: "Behind root ports only slot 0 is used", severity: "error", optional: true, check: checkSlots },
  { about: "host", id: "GST-007", title: "Every guest slot has a function 0", severity: "error", optional: true, check: checkFunctionZero },
];

export const GUEST_DEVICE_RULES: readonly DeviceRule[] = [{ about: "device", id: "GST-001", title: "Its guest driver does not mind the VM", severity: "warning", optional: true, check: checkHidden }];

const checkLocked = (host: HostView): Outcome => {
  const said = host.log?.find(/RLIMIT_MEMLOCK \(\d+\) exceeded/);
  const advice = "All memory of the VM is locked: let libvirt start it, or raise the limit (LimitMEMLOCK=infinity in the unit, memlock in /etc/security/limits.conf). With iommufd BARs count too.";
  if (said) return fail(said, advice);
  const { guest } = host;
  if (!guest) return unknown(NEEDED);
  if (guest.starter === "libvirt") return pass(seen(guest.source, "libvirt raises the limit by itself"));
  const line = host.lineOf("proc/self/limits", /^Max locked memory/);
  const limit = /^Max locked memory\s+(\d+|unlimited)/.exec(line?.text ?? "")?.[1];
  if (limit === undefined || guest.memoryBytes === undefined) return unknown("ulimit -l of who starts QEMU, and the VM's memory");
  return limit === "unlimited" || BigInt(limit) >= guest.memoryBytes ? pass(line) : fail([line, seen(guest.source, `${guest.memoryBytes} bytes of memory`)], advice);
};

const ENTRY_LIMIT = 65_535n;
const PAGE = 4096n;

const checkEntries = withGuest((guest, host) => {
  if (!guest.viommu || guest.devices.length === 0) return notConcerned("Without a virtual IOMMU memory is mapped in few large pieces.");
  if (guest.memoryBytes === undefined) return unknown("the VM's memory");
  const text = host.text("sys/module/vfio_iommu_type1/parameters/dma_entry_limit")?.trim();
  const limit = text !== undefined && /^\d{1,12}$/.test(text) ? BigInt(text) : ENTRY_LIMIT;
  const evidence = [seen(guest.source, `${guest.memoryBytes} bytes behind a virtual IOMMU`), seen("vfio_iommu_type1.dma_entry_limit", `${limit}`)];
  return guest.hugepages || guest.memoryBytes / PAGE <= limit ? pass(evidence) : fail(evidence, `A guest that maps in 4 KiB pages needs up to ${guest.memoryBytes / PAGE} entries: raise vfio_iommu_type1.dma_entry_limit, or back the VM by huge pages.`);
});

const checkBalloon = withGuest((guest) => {
  if (guest.devices.length === 0) return notConcerned("It gets no function of the host.");
  return guest.balloon ? fail(seen(guest.source, "a memory balloon"), "QEMU switches it off, for assigned functions reach all memory: <memballoon model='none'/>.") : pass(seen(guest.source, "no memory balloon"));
});

const checkHugepages = withGuest((guest, host) => {
  if (!guest.hugepages) return notConcerned("The VM does not ask for huge pages.");
  const info = host.text("proc/meminfo");
  const [free, size] = [/^HugePages_Free:\s+(\d+)/m, /^Hugepagesize:\s+(\d+) kB/m].map((pattern) => pattern.exec(info ?? "")?.[1]);
  if (free === undefined || size === undefined || guest.memoryBytes === undefined) return unknown("/proc/meminfo, and the VM's memory");
  const available = BigInt(free) * BigInt(size) * 1024n;
  const evidence = [host.lineOf("proc/meminfo", /^HugePages_Free:/), host.lineOf("proc/meminfo", /^Hugepagesize:/), seen(guest.source, `${guest.memoryBytes} bytes`)];
  return available >= guest.memoryBytes ? pass(evidence) : fail(evidence, `Only ${available} bytes of huge pages are free: QEMU says "unable to map backing store for guest RAM". Reserve them early: hugepages=N on the command line, or vm.nr_hugepages.`);
});

const checkNodes = (device: DeviceView, host: HostView): Outcome => {
  const { guest } = host;
  const text = host.functionText(device.fn, "numa_node")?.trim();
  if (text === "-1") return notConcerned("The machine has one node.");
  if (!guest) return unknown(NEEDED);
  if (guest.nodes.length === 0) return notConcerned("The VM's memory is bound to no node.");
  if (text === undefined) return unknown(`/sys/bus/pci/devices/${device.name}/numa_node`);
  const evidence = [seen(`sys/bus/pci/devices/${device.name}/numa_node`, text), seen(guest.source, `memory of node ${guest.nodes.join(", ")}`)];
  return guest.nodes.includes(Number(text)) ? pass(evidence) : fail(evidence, `The device is at node ${text}: bind memory and processors of the VM there. It works without, but slower.`);
};

const checkAccess = (host: HostView): Outcome => {
  const path = "dev/vfio.ls";
  const line = host.lineOf(path, /^c[rwx-]{9}\S*\s.*\svfio$/);
  if (!line) return unknown("ls -l /dev/vfio");
  return /^c.{6}rw/.test(line.text) ? pass(line) : fail(line, "Only root may open /dev/vfio/vfio: it should be crw-rw-rw- (systemd 254.0 made it 0600). A udev rule repairs it; the group's own file is what gives access to devices.");
};

/** Memory and permissions for the VM. */
export const MEMORY_RULES: readonly HostRule[] = [
  { about: "host", id: "MEM-001", title: "QEMU may lock the VM's memory", severity: "error", optional: true, check: checkLocked },
  { about: "host", id: "MEM-002", title: "VFIO may map as many pieces as the guest needs", severity: "warning", optional: true, check: checkEntries },
  { about: "host", id: "MEM-003", title: "The VM has no memory balloon", severity: "info", optional: true, check: checkBalloon },
  { about: "host", id: "MEM-004", title: "There are huge pages for the VM", severity: "block", optional: true, check: checkHugepages },
  { about: "host", id: "PERM-001", title: "VFIO's device file may be opened", severity: "error", optional: true, check: checkAccess },
];

export const MEMORY_DEVICE_RULES: readonly DeviceRule[] = [{ about: "device", id: "MEM-005", title: "The VM's memory is near it", severity: "warning", optional: true, check: checkNodes }];
