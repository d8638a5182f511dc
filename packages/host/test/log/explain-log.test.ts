/** Lines in the form that kernels 4.x to 7.x, QEMU and libvirt print; addresses and values are our own. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { explainLog, LOG_FORMATS } from "../../src/log/index.ts";

/** Each: the format's name, a line of that format, what must be in its fields, and a line that is nearly one. */
const LINES: readonly (readonly [id: string, line: string, fields: Readonly<Record<string, unknown>>, near: string])[] = [
  // The vendors' own, as their decoders name them.
  ["fault", "DMAR: [DMA Read NO_PASID] Request device [01:00.0] fault addr 0xdeadb000 [fault reason 0x06] PTE Read access is not set", { access: "read", address: 0xdeadb000n, reason: 6 }, "DMAR: [DMA Read NO_PASID] Request device [01:00.0] did well"],
  ["fault", "DMAR: [DMA Write PASID 0x12] Request device [01:00.0] fault addr 0x1000 [fault reason 0x71] SM: Present bit in first-level paging entry is clear", { access: "write", pasid: 0x12, reason: 0x71 }, "DMAR: [DMA Write PASID 0x12] Request device"],
  ["fault", "DMAR: [DMA Read] Request device [0e:00.0] PASID ffffffff fault addr 4f005000 [fault reason 05] PTE Write access is not set", { pasid: null, reason: 5 }, "DMAR: [DMA] device [0e:00.0] PASID ffffffff fault addr 4f005000"],
  ["fault", "DMAR:[DMA Write] Request device [02:00.0] fault addr ffff0000 \nDMAR:[fault reason 05] PTE Write access is not set", { access: "write", reason: 5 }, "DMAR:[DMA Write] Request device [zz:00.0] fault addr ffff0000"],
  ["fault", "DMAR: [INTR-REMAP] Request device [f0:1f.0] fault index 0x18 [fault reason 0x26] Blocked an interrupt request due to source-id verification failure", { access: "interrupt", interruptIndex: 0x18, reason: 0x26 }, "DMAR: [INTR-REMAP] Request device [f0:1f.8] index"],
  ["fsts-reg", "DMAR: DRHD: handling fault status reg 2", {}, "DMAR: DRHD: handling fault status"],
  ["invalidation-queue-error", "DMAR: VT-d detected Invalidation Queue Error: Reason 2", { reason: 2 }, "DMAR: VT-d detected Invalidation Queue"],
  ["invalidation-time-out-error", "DMAR: VT-d detected Invalidation Time-out Error: SID 100", { requester: "01:00.0" }, "DMAR: VT-d detected Invalidation Time-out Error"],
  ["invalidation-completion-error", "DMAR: VT-d detected Invalidation Completion Error: SID 100", { requester: "01:00.0" }, "DMAR: VT-d detected Completion Error: SID 100"],
  ["context-cache-invalidate-descriptor", "DMAR: QI HEAD: Context-cache Invalidation qw0 = 0x11, qw1 = 0x0", {}, "DMAR: QI HEAD: Context-cache Invalidation qw0"],
  ["iotlb-invalidate-descriptor", "DMAR: QI PRIOR: IOTLB Invalidation qw0 = 0x12, qw1 = 0x0", {}, "DMAR: PRIOR: IOTLB Invalidation qw0 = 0x12"],
  ["io-page-fault", "nvme 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0011 address=0xfffc0000 flags=0x0010]", { requester: "0000:01:00.0", domain: 0x11 }, "nvme 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULTS]"],
  ["io-page-fault", "AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:07:00.0 domain=0x000a address=0xfdf80000 flags=0x0020]", { requester: "0000:07:00.0" }, "AMD-Vi: Event logged [IO PAGE FAULT device=0000:07:00.0]"],
  ["io-page-fault", "AMD-Vi: Event logged [IO_PAGE_FAULT device=07:00.0 domain=0x000a address=0x00000000fdf80000 flags=0x0020]", { requester: "07:00.0" }, "AMD-Vi: Event logged [PAGE_FAULT device=07:00.0]"],
  ["illegal-dev-table-entry", "AMD-Vi: Event logged [ILLEGAL_DEV_TABLE_ENTRY device=0000:01:00.0 pasid=0x00000 address=0x1000 flags=0x0080]", {}, "AMD-Vi: Event logged [DEV_TABLE_ENTRY device=0000:01:00.0]"],
  ["dev-tab-hardware-error", "AMD-Vi: Event logged [DEV_TAB_HARDWARE_ERROR device=0000:01:00.0 address=0x1000 flags=0x0400]", {}, "AMD-Vi: Event logged [DEV_TAB_HARDWARE]"],
  ["page-tab-hardware-error", "AMD-Vi: Event logged [PAGE_TAB_HARDWARE_ERROR device=0000:01:00.0 pasid=0x0000 address=0x1000 flags=0x0400]", {}, "AMD-Vi: Event logged [PAGE_TAB_HARDWARE]"],
  ["illegal-command-error", "AMD-Vi: Event logged [ILLEGAL_COMMAND_ERROR address=0x1000]", {}, "AMD-Vi: Event logged [ILLEGAL_COMMAND]"],
  ["command-hardware-error", "AMD-Vi: Event logged [COMMAND_HARDWARE_ERROR address=0x1000 flags=0x0400]", {}, "AMD-Vi: Event logged [COMMAND_HARDWARE]"],
  ["iotlb-inv-timeout", "AMD-Vi: Event logged [IOTLB_INV_TIMEOUT device=0000:0b:00.0 address=0x1000]", { requester: "0000:0b:00.0" }, "AMD-Vi: Event logged [IOTLB_TIMEOUT device=0000:0b:00.0]"],
  ["invalid-device-request", "AMD-Vi: Event logged [INVALID_DEVICE_REQUEST device=0000:0b:00.0 pasid=0x00000 address=0xfffffffdf8000000 flags=0x0a00]", {}, "AMD-Vi: Event logged [INVALID_REQUEST device=0000:0b:00.0]"],
  ["invalid-ppr-request", "AMD-Vi: Event logged [INVALID_PPR_REQUEST device=0000:0b:00.0 pasid=0x00001 address=0x1000 flags=0x0000 tag=0x001]", {}, "AMD-Vi: Event logged [INVALID_PPR device=0000:0b:00.0]"],
  ["rmp-hw-error", "AMD-Vi: Event logged [RMP_HW_ERROR device=0000:0b:00.0, vmg_tag=0x0000, spa=0x1000, flags=0x0000]", {}, "AMD-Vi: Event logged [RMP_HW device=0000:0b:00.0]"],
  ["rmp-page-fault", "AMD-Vi: Event logged [RMP_PAGE_FAULT device=0000:0b:00.0, vmg_tag=0x0000, gpa=0x1000, flags_rmp=0x0000, flags=0x0000]", {}, "AMD-Vi: Event logged [RMP_FAULT device=0000:0b:00.0]"],
  ["event-with-code-15", "AMD-Vi: Event logged [UNKNOWN event[0]=0x00000100, event[1]=0xf0000000, event[2]=0x00000000, event[3]=0x00000000]", { code: 15 }, "AMD-Vi: Event logged [UNKNOWN event[0]=0x00000100]"],
  ["completion-wait-timeout", "AMD-Vi: Completion-Wait loop timed out", {}, "AMD-Vi: Completion-Wait loop done"],
  ["command-buffer-timeout", "AMD-Vi: Command buffer timeout", {}, "AMD-Vi: Command buffer full"],
  ["event-log-overflow", "AMD-Vi: IOMMU event log overflow", {}, "AMD-Vi: IOMMU event log is fine"],
  ["host-address-width", "DMAR: Host address width 39", { hostAddressWidth: 39 }, "DMAR: Host address width"],
  ["drhd", "DMAR: DRHD base: 0x000000fed90000 flags: 0x0", { includeAll: false }, "DMAR: DRHD base: flags: 0x0"],
  ["rmrr", "DMAR: RMRR base: 0x0000007b800000 end: 0x0000007fffffff", { base: 0x7b800000n }, "DMAR: RMRR base: 0x0000007b800000"],
  ["atsr", "DMAR: ATSR flags: 0x0", { flags: 0 }, "DMAR: ATSR"],
  ["satc", "DMAR: SATC flags: 0x1", { flags: 1 }, "DMAR: SATC"],
  ["rhsa", "DMAR: RHSA base: 0x000000fbffc000 proximity domain: 0x1", { proximityDomain: 1 }, "DMAR: RHSA base: 0x000000fbffc000"],
  ["remapping-unit", "DMAR: dmar0: reg_base_addr fed90000 ver 1:0 cap c0000020660462 ecap f0101a", { cap: 0xc0000020660462n, ecap: 0xf0101an }, "DMAR: dmar0: reg_base_addr fed90000 ver 1:0"],
  ["interrupt-remapping", "DMAR-IR: Enabled IRQ remapping in x2apic mode", { mode: "x2apic" }, "DMAR-IR: Enabled IRQ remapping"],
  ["ioapic", "DMAR-IR: IOAPIC id 2 under DRHD base  0xfed91000 IOMMU 1", { id: 2 }, "DMAR-IR: IOAPIC id under DRHD base"],
  ["efr", "AMD-Vi: Extended features (0x58f77ef22294ade, 0x0): PPR X2APIC NX GT IA GA PC GA_vAPIC", {}, "AMD-Vi: Extended features"],
  ["interrupt-remapping", "AMD-Vi: Interrupt remapping enabled", {}, "AMD-Vi: Interrupt remapping"],
  ["x2apic", "AMD-Vi: X2APIC enabled", {}, "AMD-Vi: X2APIC disabled"],
  ["virtual-apic", "AMD-Vi: Virtual APIC enabled", {}, "AMD-Vi: Virtual APIC off"],
  ["option-unknown", "AMD-Vi: Unknown option - 'on'", {}, "AMD-Vi: option - 'on'"],
  ["option-parsed", "DMAR: IOMMU enabled", {}, "DMAR: IOMMU disabled"],
  ["no-dmar", "DMAR: No DMAR devices found", {}, "DMAR: DMAR devices found"],
  ["interrupt-remapping-failed", "Failed to enable irq remapping. You are vulnerable to irq-injection attacks.", {}, "Able to enable irq remapping."],
  // The kernel's core, PCI and VGA.
  ["group-added", "pci 0000:00:1f.0: Adding to iommu group 12", { device: "0000:00:1f.0", group: "12" }, "pci 0000:00:1f.0: Adding to group 12"],
  ["group-added", "iommu: Adding device 0000:00:1f.0 to group 12", { group: "12" }, "iommu: Removing device 0000:00:1f.0 from group 12"],
  ["default-domain", "iommu: Default domain type: Translated", { type: "Translated" }, "iommu: domain type: Translated"],
  ["domain-type-conflict", "snd_hda_intel 0000:01:00.1: Device needs domain type 1, but device 0000:01:00.0 in the same iommu group requires type 3 - using default", { wanted: "1", other: "0000:01:00.0", type: "3" }, "snd_hda_intel 0000:01:00.1: Device needs domain type 1"],
  ["one-to-one-required", "vfio-pci 0000:03:00.0: Firmware has requested this device have a 1:1 IOMMU mapping, rejecting configuring the device without a 1:1 mapping. Contact your platform vendor.", { device: "0000:03:00.0" }, "vfio-pci 0000:03:00.0: Firmware has requested this device"],
  ["rmrr-required", "vfio-pci 0000:03:00.0: Device is ineligible for IOMMU domain attach due to platform RMRR requirement.  Contact your platform vendor.", { device: "0000:03:00.0" }, "vfio-pci 0000:03:00.0: Device is eligible for IOMMU domain attach"],
  ["rmrr-relaxed", "DMAR: Intel-IOMMU: assuming all RMRRs are relaxable. This can lead to instability or data loss", {}, "DMAR: Intel-IOMMU: assuming nothing"],
  ["feature-inconsistent", "DMAR: IOMMU feature sc_support inconsistent", { feature: "sc_support" }, "DMAR: IOMMU feature sc_support"],
  ["platform-opt-in", "DMAR: Intel-IOMMU force enabled due to platform opt in", {}, "DMAR: Intel-IOMMU enabled due to platform opt in"],
  ["memory-encryption", "iommu: Memory encryption detected - Disabling default IOMMU Passthrough", {}, "Memory encryption detected"],
  ["acs-override", "Warning: PCIe ACS overrides enabled; This may allow non-IOMMU protected peer-to-peer DMA", {}, "Warning: PCIe ACS overrides"],
  ["pch-acs", "pci 0000:00:1c.0: Intel PCH root port ACS workaround enabled", { device: "0000:00:1c.0" }, "pci 0000:00:1c.0: Failed to enable Intel PCH ACS quirk"],
  ["bar-not-assigned", "pci 0000:01:00.0: BAR 1: can't assign; no space", { bar: "1" }, "pci 0000:01:00.0: BAR 1: assigned"],
  ["bar-not-assigned", "pci 0000:01:00.0: BAR 1 [mem size 0x400000000 64bit pref]: can't assign; no space", { bar: "1", window: "[mem size 0x400000000 64bit pref]" }, "pci 0000:01:00.0: BAR 1 [mem 0x400000000 64bit pref]"],
  ["power-stuck", "vfio-pci 0000:01:00.0: Unable to change power state from D3cold to D0, device inaccessible", { from: "D3cold", to: "D0" }, "vfio-pci 0000:01:00.0: change power state from D3cold to D0"],
  ["not-ready", "vfio-pci 0000:01:00.0: not ready 65535ms after resume; giving up", { milliseconds: "65535", event: "resume" }, "vfio-pci 0000:01:00.0: not ready 1023ms after FLR; waiting"],
  ["header-7f", "pci 0000:01:00.0: unknown header type 7f, ignoring device", { device: "0000:01:00.0" }, "pci 0000:01:00.0: unknown header type 03, ignoring device"],
  ["rom-shadowed", "pci 0000:01:00.0: Video device with shadowed ROM at [mem 0x000c0000-0x000dffff]", { first: "000c0000", last: "000dffff" }, "pci 0000:01:00.0: Video device with ROM"],
  ["rom-signature", "pci 0000:01:00.0: Invalid PCI ROM header signature: expecting 0xaa55, got 0xffff", { found: "0xffff" }, "pci 0000:01:00.0: PCI ROM header signature"],
  ["boot-vga", "pci 0000:01:00.0: vgaarb: setting as boot VGA device", { device: "0000:01:00.0" }, "pci 0000:01:00.0: vgaarb: boot VGA device"],
  ["vga-added", "pci 0000:01:00.0: vgaarb: VGA device added: decodes=io+mem,owns=none,locks=none", { decodes: "io+mem", owns: "none" }, "pci 0000:01:00.0: vgaarb: VGA device added"],
  ["vga-decodes", "vfio-pci 0000:01:00.0: vgaarb: VGA decodes changed: olddecodes=io+mem,decodes=none:owns=none", { old: "io+mem", decodes: "none" }, "vfio-pci 0000:01:00.0: vgaarb: VGA decodes changed"],
  ["vga-decodes", "vfio-pci 0000:01:00.0: vgaarb: changed VGA decodes: olddecodes=io+mem,decodes=none:owns=none", { old: "io+mem" }, "vfio-pci 0000:01:00.0: vgaarb: changed VGA decodes"],
  ["vga-bridge-control", "pci 0000:01:00.0: vgaarb: bridge control possible", {}, "pci 0000:01:00.0: vgaarb: control possible"],
  ["sysfb-off", "blacklisting initcall sysfb_init", {}, "blacklisting initcall other_init"],
  // VFIO, QEMU and libvirt.
  ["no-interrupt-remapping", "vfio_iommu_type1_attach_group: No interrupt remapping support.  Use the module param \"allow_unsafe_interrupts\" to enable VFIO IOMMU support on this platform", {}, "vfio_iommu_type1_attach_group: interrupt remapping"],
  ["msi-not-secure", "iommufd: MSI interrupts are not secure, they cannot be isolated by the platform. Check that platform features like interrupt remapping are enabled.", {}, "MSI interrupts are secure"],
  ["group-not-viable", "qemu-system-x86_64: -device vfio-pci,host=0000:01:00.0: vfio 0000:01:00.0: group 1 is not viable", { group: "1" }, "vfio 0000:01:00.0: group 1 is viable"],
  ["no-group", "vfio 0000:00:00.0: no iommu_group found: No such file or directory", {}, "iommu_group found"],
  ["bar-reserved", "vfio-pci 0000:01:00.0: BAR 1: can't reserve [mem 0xe0000000-0xefffffff 64bit pref]", { bar: "1", window: "[mem 0xe0000000-0xefffffff 64bit pref]" }, "vfio-pci 0000:01:00.0: BAR 1: reserved [mem 0xe0000000-0xefffffff]"],
  ["intx-broken", "vfio-pci 0000:01:00.0: Masking broken INTx support", {}, "vfio-pci 0000:01:00.0: Masking INTx"],
  ["memlock", "vfio_pin_pages_remote: RLIMIT_MEMLOCK (65536) exceeded", { limit: "65536" }, "vfio_pin_pages_remote: RLIMIT_MEMLOCK exceeded"],
  ["dma-map-failed", "qemu: vfio_dma_map(0x55d0, 0x0, 0xa0000, 0x7f00) = -12 (Cannot allocate memory)", { error: "-12", text: "Cannot allocate memory" }, "qemu: vfio_dma_map(0x55d0, 0x0, 0xa0000, 0x7f00) = 0"],
  ["ecap-hidden", "vfio-pci 0000:01:00.0: vfio_ecap_init: hiding ecap 0x19@0x900", { capability: "0x19", offset: "0x900" }, "vfio-pci 0000:01:00.0: vfio_ecap_init: showing ecap 0x19@0x900"],
  ["noiommu-opened", "vfio-pci 0000:01:00.0: vfio-noiommu device opened by user (dpdk:1234)", {}, "vfio device opened by user"],
  ["noiommu-taint", "vfio-pci 0000:01:00.0: Adding kernel taint for vfio-noiommu group on device", {}, "Adding kernel taint for a group"],
  ["denylist", "vfio-pci 0000:3d:00.0: 8086:37c8 exists in vfio-pci device denylist, driver probing disallowed.", { ids: "8086:37c8" }, "vfio-pci 0000:3d:00.0: 8086:37c8 exists"],
  ["sriov-enabled", "vfio-pci 0000:3d:00.0: Cannot bind to PF with SR-IOV enabled", { device: "0000:3d:00.0" }, "vfio-pci 0000:3d:00.0: Cannot bind to VF"],
  ["disable-vga-unknown", "vfio_pci: unknown parameter 'disable_vga' ignored", {}, "vfio_pci: parameter 'disable_vga' set"],
  ["virqfd-missing", "==> ERROR: module not found: 'vfio_virqfd'", {}, "module found: 'vfio_virqfd'"],
  ["cannot-reset", "vfio: Cannot reset device 0000:01:00.0, no available reset mechanism.", { device: "0000:01:00.0" }, "vfio: reset device 0000:01:00.0"],
  ["reset-needs-group", "vfio: Cannot reset device 0000:01:00.0, depends on group 15 which is not owned.", { group: "15" }, "vfio: Cannot reset device 0000:01:00.0, depends on group"],
  ["libvirt-reset", "error: internal error: Unable to reset PCI device 0000:01:00.0: no FLR, PM reset or bus reset available", { device: "0000:01:00.0" }, "Unable to find PCI device 0000:01:00.0"],
  ["stuck-in-d", "vfio: Unable to power on device, stuck in D3", { state: "3" }, "vfio: power on device"],
  ["header-127", "error: internal error: Unknown PCI header type '127' for device '0000:01:00.0'", { type: "127" }, "Unknown PCI header type '3'"],
  ["address-spaces", "vfio 0000:01:00.1: group 1 used in multiple address spaces", { group: "1" }, "group 1 used in an address space"],
  ["caching-mode", "qemu: Device assignment is not allowed without enabling caching-mode=on for Intel IOMMU.", {}, "Device assignment is allowed"],
  ["irqchip-split", "qemu: Intel Interrupt Remapping cannot work with kernel-irqchip=on, please use 'split|off'.", {}, "Interrupt Remapping with kernel-irqchip=split"],
  ["irqchip-split", "error: unsupported configuration: IOMMU interrupt remapping requires split I/O APIC (ioapic driver='qemu')", {}, "IOMMU interrupt remapping with split I/O APIC"],
  ["igd-legacy-address", "vfio 0000:00:02.0: IGD device 0000:00:02.0 cannot support legacy mode due to existing devices at address 1f.0", {}, "IGD device 0000:00:02.0 supports legacy mode"],
  ["igd-legacy-generation", "vfio 0000:00:02.0: IGD device 0000:00:02.0 is unsupported in legacy mode, try SandyBridge or newer", {}, "IGD device is supported in legacy mode"],
];

/** What loggers put before a line. */
const PREFIXES = ["", "[   12.345678] ", "<4>[   12.345678] ", "Nov 21 10:00:00 box kernel: "] as const;

describe("explainLog", () => {
  test.each(LINES)("%s: %s", (id, line, fields) => {
    const [event] = explainLog(line);
    expect(event).toMatchObject({ id, fields });
    expect(event?.happened).not.toMatch(/\{\w+\}|\?$/);
    expect([event?.why, event?.advice].join(" ")).not.toMatch(/\{\w+\}/);
  });

  test.each(LINES)("%s: a line that is nearly one is not taken for it: %s", (id, _line, _fields, near) => {
    expect(explainLog(near).filter((event) => event.id === id)).toEqual([]);
  });

  test.each(PREFIXES)("what a logger puts before lines does not matter: \"%s\"", (prefix) => {
    const found = LINES.map(([id, line]) => [id, explainLog(line.split("\n").map((each) => prefix + each).join("\n"))[0]?.id] as const);
    expect(found.filter(([id, seen]) => id !== seen)).toEqual([]);
  });

  test("every format of the table has a line here", () => {
    const ids = new Set(LINES.map(([id]) => id));
    expect(LOG_FORMATS.map(({ id }) => id).filter((id) => !ids.has(id))).toEqual([]);
  });

  test("a fault or problem comes with advice, or announces others", () => {
    const without = LINES.flatMap(([, line]) => explainLog(line)).filter(({ level, advice }) => (level === "fault" || level === "problem") && advice === "");
    expect(without).toEqual([]);
  });

  test("hiding a capability is normal and no alarm", () => {
    expect(explainLog("vfio-pci 0000:01:00.0: vfio_ecap_init: hiding ecap 0x19@0x900")[0]?.level).toBe("good");
  });

  test("line numbers and devices are those of the text", () => {
    const events = explainLog("nothing\nDMAR: [DMA Read NO_PASID] Request device [01:00.0] fault addr 0x1000 [fault reason 0x06] x\n\npci 0000:00:02.0: Adding to iommu group 0\n");
    expect(events.map(({ line, device }) => [line, device])).toEqual([[2, "0000:01:00.0"], [4, "0000:00:02.0"]]);
  });

  test("an ordinary log has no faults", () => {
    expect(explainLog("Linux version 6.12.0\nusb 1-1: new high-speed USB device\nDMAR-IR: Queued invalidation will be enabled to support x2apic and Intr-remapping.\n").filter(({ level }) => level === "fault")).toEqual([]);
  });

  test("cut, repeated and hostile lines do no harm", () => {
    fc.assert(
      fc.property(fc.constantFrom(...LINES.map(([, line]) => line)), fc.nat(200), fc.string({ maxLength: 40 }), fc.nat(3), (line, at, rest, times) => {
        for (const event of explainLog(Array.from({ length: times + 1 }, () => line.slice(0, at) + rest + line.slice(at)).join("\n"))) expect(event.line).toBeGreaterThan(0);
      }),
      { numRuns: 400 },
    );
  });

  test("a megabyte of one line takes no time", () => {
    const long = "AMD-Vi: Event logged [IO_PAGE_FAULT ".repeat(30_000);
    expect(explainLog(long).length).toBeLessThan(3);
  });
});
