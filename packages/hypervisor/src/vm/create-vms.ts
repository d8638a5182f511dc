import { parseAddress } from "@iommu-lab/pci-bus";
import type { MachineVm } from "@iommu-lab/pci-bus/machine";
import { Endpoint, type ModelFunction } from "@iommu-lab/pci-bus/model";
import { msix } from "@iommu-lab/pci-bus/capabilities";
import { EduFunction } from "../devices/edu.ts";
import { StreamDevice } from "../devices/stream.ts";
import type { Machine } from "../machine/machine.ts";
import type { InterruptPath } from "./guest-messages.ts";
import { Passthrough } from "./passthrough.ts";
import { VirtualMachine } from "./virtual-machine.ts";

/** A VM of a machine's description, built. */
export interface CreatedVm {
  readonly vm: VirtualMachine;
  /** Undefined where it has no function of the host. */
  readonly passthrough: Passthrough | undefined;
  /** Device and function number of each of its devices in the guest, in the order of the description. */
  readonly places: readonly number[];
}

/** First device number in the guest; those below are the chipset's. */
const FIRST_SLOT = 4;
const STREAM = { vendor: 0x1af4, device: 0x10f0, classCode: 0x02_0000, header: 0, bars: [{ index: 0, kind: "memory32", size: 0x1000 }, { index: 4, kind: "memory32", size: 0x1000 }] } as const;
const PLAIN = { vendor: 0x1af4, device: 0x10ff, classCode: 0xff_0000, header: 0, bars: [{ index: 0, kind: "memory32", size: 0x1000 }] } as const;

const emulated = (machine: Machine, behaviour: string): ModelFunction => {
  if (behaviour === "edu") return new EduFunction();
  if (behaviour !== "stream") return new Endpoint(PLAIN);
  return new StreamDevice({ ...STREAM, capabilities: [msix({ vectors: 4, table: { bar: 4, offset: 0 }, pendingBits: { bar: 4, offset: 0x800 } })] }, { clock: machine.clock });
};

/**
 * Builds the VMs of a machine's description: guest memory, processors, an IOMMU where one is wanted, emulated devices, and
 * functions of the host through VFIO. The guests' firmware has run.
 * @throws VfioError as the kernel refuses a function, RangeError where memory or a function is not there
 */
export const createVms = (machine: Machine, path: InterruptPath = "forwarded"): CreatedVm[] => (machine.description.vms ?? []).map((each) => createVm(machine, each, path));

const createVm = (machine: Machine, { name, memory, processors, layout, iommu, devices = [] }: MachineVm, path: InterruptPath): CreatedVm => {
  const vm = new VirtualMachine(machine, { name, memory, ...(processors === undefined ? {} : { processors }), ...(layout ? { layout } : {}), ...(iommu ? { iommu: { vendor: iommu, cachingMode: true } } : {}) });
  const passthrough = devices.some((device) => "host" in device) ? new Passthrough(vm) : undefined;
  const places = devices.map((device, i) => {
    const devfn = (FIRST_SLOT + i) << 3;
    if ("emulated" in device) vm.plug(emulated(machine, device.emulated), devfn);
    else if (parseAddress(device.host)) passthrough?.assign(device.host, devfn, path);
    return devfn;
  });
  vm.boot();
  return { vm, passthrough, places };
};
