import { hex } from "@iommu-lab/memory";
import type { HostResource } from "../snapshot.ts";
import type { DeviceView } from "./device-view.ts";
import type { HostView } from "./host-view.ts";
import { fail, pass, seen, unknown, type DeviceRule, type Outcome } from "./rule.ts";
import { addressBits, capabilityRegisters } from "./unit-registers.ts";

/** Flags of the `resource` file. Linux include/linux/ioport.h. */
const MEMORY = 0x200n;
const MEMORY_64 = 0x10_0000n;
const UNSET = 0x2000_0000n;
const BARS = 6;

const GIB = 1n << 30n;

const bars = (device: DeviceView): readonly (HostResource & { readonly index: number; readonly size: bigint })[] | undefined =>
  device.fn.resources?.slice(0, BARS).flatMap((resource, index) => (resource.flags & MEMORY && resource.end >= resource.start && resource.flags !== 0n ? [{ ...resource, index, size: resource.end - resource.start + 1n }] : []));

const place = (device: DeviceView): string => `sys/bus/pci/devices/${device.name}/resource`;

const UNASSIGNED = /Memory at <(?:unassigned|ignored)>/;

const checkAssigned = (device: DeviceView, host: HostView): Outcome => {
  const advice = "Switch \"Above 4G decoding\" on in firmware setup (and boot by UEFI): its memory windows found no room. pci=realloc may help where firmware has no such setting.";
  const said = host.log?.find(device.logPattern("can't assign; no space|no space for \\[mem|failed to assign \\[mem"));
  const known = bars(device);
  const unset = known?.filter(({ start, size, flags }) => flags & UNSET || (start === 0n && size > 1n)) ?? [];
  if (unset.length > 0) return fail([...unset.map(({ index, size }) => seen(place(device), `BAR ${index}, ${hex(size)} bytes: not assigned`, index + 1)), said], advice);
  if (known && known.length > 0) return pass(seen(place(device), `${known.length} memory BARs, all assigned`));
  const printed = device.fn.printed?.capabilities.flatMap(({ lines }) => lines).find((line) => UNASSIGNED.test(line));
  if (printed !== undefined || said) return fail([said, printed === undefined ? undefined : seen("lspci", printed)], advice);
  return known ? pass(seen(place(device), "it has no memory BAR")) : unknown(place(device));
};

const totalOf64 = (device: DeviceView): bigint | undefined => bars(device)?.filter(({ flags }) => flags & MEMORY_64).reduce((sum, { size }) => sum + size, 0n);

const checkWindow = (device: DeviceView): Outcome => {
  const total = totalOf64(device);
  if (total === undefined) return unknown(place(device));
  const evidence = seen(place(device), `64-bit BARs take ${hex(total)} bytes`);
  if (total < 32n * GIB) return pass(evidence);
  let window = 64n * GIB;
  while (window < 2n * total) window *= 2n;
  return fail(evidence, `Older guest firmware (OVMF) has a window of 32 GiB for such BARs. Give it more: -fw_cfg name=opt/ovmf/X-PciMmio64Mb,string=${window / (1n << 20n)}, and let the guest see the host's address width (host-phys-bits=on). Newer OVMF sizes it by that width.`);
};

const checkResizable = (device: DeviceView): Outcome => {
  const offset = device.extended(0x15, /Resizable BAR/i);
  const known = bars(device);
  if (offset === undefined) return unknown("its extended capabilities (lspci -vvv by root)");
  if (offset === 0) return pass(seen("capabilities", "no Resizable BAR"));
  if (known === undefined) return unknown(place(device));
  const large = known.filter(({ flags, size }) => flags & MEMORY_64 && size > 256n << 20n);
  if (large.length === 0) return pass(seen(place(device), "Resizable BAR, at most 256 MiB now"));
  return fail(large.map(({ index, size }) => seen(place(device), `BAR ${index} is resized to ${hex(size)} bytes`, index + 1)), "Some guest firmware and drivers cannot do with a resized BAR (error 43, black screen). If so, write a smaller size to resourceN_resize while no driver holds it, or switch Resizable BAR off in firmware setup.");
};

const checkWidth = (_device: DeviceView, host: HostView): Outcome => {
  const line = host.lineOf("proc/cpuinfo", /^address sizes\s*:/);
  const processor = Number(/(\d+) bits physical/.exec(line?.text ?? "")?.[1] ?? Number.NaN);
  if (host.vendor === "amd" && host.ivrs) return pass(seen("IVRS", `virtual address size ${host.ivrs.virtualAddressSize} bits`));
  const units = capabilityRegisters(host);
  const unit = addressBits(units);
  if (unit === undefined) return unknown("the CAP register (/sys/class/iommu/dmar0/intel-iommu/cap), for the IOMMU's address width");
  const evidence = [line, ...units.slice(0, 2).map(({ evidence: each, cap }) => seen(each.source, `cap 0x${cap.toString(16)}: MGAW ${Number((cap >> 16n) & 0x3fn) + 1} bits`, each.line))];
  if (Number.isNaN(processor)) return unknown("/proc/cpuinfo, for the processor's address width", evidence);
  if (unit >= processor) return pass(evidence);
  const memory = host.guest?.memoryBytes;
  if (memory !== undefined && memory + (totalOf64(_device) ?? 0n) > 1n << BigInt(unit)) return fail(evidence, `The guest needs addresses past ${unit} bits, which this IOMMU cannot translate: vfio_dma_map fails with -22.`);
  return fail(evidence, `The IOMMU translates ${unit} bits, the processor has ${processor}: a guest that places BARs by the processor's width gets errors (vfio_dma_map = -22, "Access beyond MGAW"). Limit the guest: host-phys-bits-limit=${unit}.`, "warning");
};

const checkInterruptPin = (device: DeviceView, host: HostView): Outcome => {
  const said = host.log?.find(device.logPattern("Masking broken INTx support"));
  if (said) return fail(said, "Its INTx cannot be masked by its command register: give it an interrupt line of its own, or use MSI in the guest (vfio-pci nointxmask=1 says so to the kernel).");
  const { config } = device.fn;
  if (config && config.length >= 64 && config[0x3d] === 0) return pass(seen(`sys/bus/pci/devices/${device.name}/config`, "0x3d: interrupt pin 0, no INTx"));
  if ((device.capability(0x05) ?? 0) > 0 || (device.capability(0x11) ?? 0) > 0) return pass(seen("capabilities", "it has MSI or MSI-X"));
  return unknown("the kernel log after vfio-pci was bound to it, or lspci -vvv by root");
};

/** Whether its memory windows fit, on the host and in a guest. */
export const BAR_RULES: readonly DeviceRule[] = [
  { about: "device", id: "BAR-001", title: "All its memory windows have a place", severity: "error", check: checkAssigned },
  { about: "device", id: "BAR-002", title: "Its windows fit into the guest's firmware", severity: "warning", check: checkWindow },
  { about: "device", id: "BAR-003", title: "No resized BAR", severity: "warning", check: checkResizable },
  { about: "device", id: "BAR-004", title: "The IOMMU reaches what the guest can address", severity: "block", check: checkWidth },
  { about: "device", id: "BAR-005", title: "Its interrupt pin can be shared or is not needed", severity: "warning", check: checkInterruptPin },
];
