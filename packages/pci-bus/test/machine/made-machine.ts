/** A small machine as JSON has it, with everything that the format knows said at least once. */
import type { MachineFunctionInput, MachineInput } from "../../src/machine/index.ts";

export const card: MachineFunctionInput = { at: "00.0", vendor: "0x1af4", device: 0x10f0, classCode: 0x02_0000, bars: [{ index: 0, kind: "memory64", size: "0x4000", prefetchable: true }], romSize: 0x1_0000, rom: ["legacy", "efi"], interruptPin: 1, capabilities: { msix: { vectors: 4 }, sriov: { totalVfs: 8 } }, behaviour: "stream", driver: "virtio-pci" };

export const bridge: MachineFunctionInput = { at: "01.0", kind: "root-port", vendor: 0x1b36, device: 12, classCode: "0x060400", capabilities: { acs: true }, secondaryBus: 1, subordinateBus: 2, below: [card] };

export const made: MachineInput = {
  $schema: "https://iommu-lab.dev/machine.schema.json",
  format: "iommu-lab-machine",
  version: 1,
  name: "made",
  provenance: "made for tests",
  kernel: { version: "6.12", commandLine: "intel_iommu=on" },
  firmware: { kind: "uefi", bootDisplay: "01:00.0", frameBuffer: { base: "0xc0000000", size: 4096 }, iommu: true },
  processors: { count: 4, apic: "x2apic" },
  memory: "0x10000000",
  iommus: [{ vendor: "intel", registerBase: "0xfed90000", segment: 0, covers: ["0000:01:00.0"], scalable: false, levels: 5, caches: "realistic", iotlb: { sets: 16, ways: 4 }, registers: { cap: "0xd2008c40660462" } }, { vendor: "intel" }],
  reserved: [{ base: "0x1000", last: "0x1fff", functions: ["01:00.0"] }],
  hostBridges: [{ segment: 0, firstBus: 0, lastBus: "0x7f", functions: [bridge, { at: "1f.3", config: `8680${"00".repeat(62)}` }] }],
  vms: [{ name: "guest", memory: "0x1000000", processors: 2, firmware: "uefi", layout: "type-1", iommu: "intel", devices: [{ host: "01:00.0" }, { emulated: "edu" }] }],
};

/** A copy in which something at a path is different; undefined takes it away. */
export const changed = (path: string, value: unknown): unknown => {
  const copy = structuredClone(made) as unknown;
  const keys = path.split(".");
  let at = copy as Record<string, unknown>;
  for (const key of keys.slice(0, -1)) at = at[key] as Record<string, unknown>;
  const last = keys.at(-1) ?? "";
  if (value === undefined) Reflect.deleteProperty(at, last);
  else at[last] = value;
  return copy;
};
