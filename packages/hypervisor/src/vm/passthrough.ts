import { formatAddress } from "@iommu-lab/pci-bus";
import { DmaMapFlag, UserProcess, VfioError, VfioExtension, type Container, type Group } from "@iommu-lab/vfio";
import type { Machine } from "../machine/machine.ts";
import { AssignedFunction } from "./assigned-function.ts";
import type { InterruptPath } from "./guest-messages.ts";
import type { VirtualMachine } from "./virtual-machine.ts";

/** The hypervisor's side of VFIO for one VM: a container with the guest's memory in it, and the functions it was given. */
export class Passthrough {
  readonly container: Container;
  readonly process: UserProcess;
  readonly #vm: VirtualMachine;
  readonly #machine: Machine;
  readonly #groups = new Map<number, Group>();
  readonly #functions = new Map<string, AssignedFunction>();
  #mapped = false;

  /** @throws Error where the machine has no VFIO */
  constructor(vm: VirtualMachine) {
    this.#vm = vm;
    this.#machine = vm.machine;
    this.process = new UserProcess({ memory: vm.memory, mayLockAll: true });
    this.container = vm.machine.kernel.vfio.openContainer(this.process);
  }

  /** Functions that the VM has, by address. */
  get functions(): ReadonlyMap<string, AssignedFunction> {
    return this.#functions;
  }

  /**
   * Takes a function for the VM: detaches its whole group from the host's drivers, opens group and device, maps the guest's
   * memory with the first one, and plugs what the guest sees into its bus.
   * @throws VfioError as the kernel refuses, RangeError for a guest with an IOMMU of its own: nothing carries what it maps there
   *   into the host's tables, and its IOMMU would protect it from nothing that this function does
   */
  assign(bdf: string, devfn: number, path: InterruptPath = "forwarded"): AssignedFunction {
    if (this.#vm.iommu) throw new RangeError(`${this.#vm.name} has an IOMMU of its own, past which ${bdf} would go: give it no function of the host, or no IOMMU.`);
    const { kernel } = this.#machine;
    const seat = this.#machine.at(bdf);
    const group = kernel.groupOf(seat.address);
    if (!group) throw new VfioError("ENODEV", `${formatAddress(seat.address)} is in no IOMMU group.`);
    for (const member of group.members) if (this.#machine.complex.find(member)?.isBridge === false) kernel.vfio.drivers.detach(member);
    const open = this.#groups.get(group.id) ?? this.#openGroup(group.id);
    const device = open.getDevice(formatAddress(seat.address));
    const fn = new AssignedFunction(this.#vm, device, seat, path);
    this.#functions.set(formatAddress(seat.address), fn);
    this.#vm.plug(fn, devfn);
    return fn;
  }

  /** Gives everything back: devices are reset, memory is unpinned, the host's drivers take over again. */
  release(): void {
    for (const fn of this.#functions.values()) fn.release();
    for (const group of this.#groups.values()) group.close();
    const { drivers } = this.#machine.kernel.vfio;
    for (const id of this.#groups.keys()) for (const member of this.#machine.kernel.vfio.ownership.group(id).members) if (this.#machine.complex.find(member)?.isBridge === false) drivers.reattach(member);
    this.#groups.clear();
    this.#functions.clear();
  }

  #openGroup(id: number): Group {
    const { vfio } = this.#machine.kernel;
    const group = vfio.openGroup(id);
    try {
      group.setContainer(this.container);
      if (!this.container.iommu) this.container.setIommu(VfioExtension.Type1V2);
      if (!this.#mapped) this.container.mapDma({ flags: DmaMapFlag.Read | DmaMapFlag.Write, vaddr: 0, iova: 0, size: this.#vm.memory.size });
      this.#mapped = true;
    } catch (error) {
      group.close();
      throw error;
    }
    this.#groups.set(id, group);
    return group;
  }
}
