import { formatAddress, type FunctionAddress, type IommuDomain, type IommuDriver } from "@iommu-lab/pci-bus";
import { MSI_WINDOW, type ReservedIova } from "../dma/index.ts";
import type { PciDriver } from "../drivers/pci-driver.ts";
import type { PciDrivers } from "../drivers/pci-drivers.ts";
import { asVfioError, VfioError } from "../vfio-error.ts";

/** An IOMMU group with its number in /sys/kernel/iommu_groups. */
export interface NumberedGroup {
  readonly id: number;
  readonly members: readonly FunctionAddress[];
}

/** A member whose driver keeps its group from a user. */
export interface Blocker {
  readonly address: FunctionAddress;
  readonly driver: string;
}

/** What ownership depends on beside drivers. */
export interface OwnershipOptions {
  readonly iommu: IommuDriver;
  readonly drivers: PciDrivers;
  readonly groups: readonly NumberedGroup[];
  /** What stands in reserved_regions of a function's group; default the MSI window. */
  readonly reservedRegions?: ((address: FunctionAddress) => readonly ReservedIova[]) | undefined;
  /** Where a function belongs while no user has it: the kernel's own domain. Undefined: blocked. */
  readonly kernelDomain?: ((address: FunctionAddress) => IommuDomain | undefined) | undefined;
}

/**
 * Who may do DMA with a group's functions: the kernel's drivers, or one user. Linux drivers/iommu/iommu.c,
 * iommu_group_claim_dma_owner.
 */
export class GroupOwnership {
  readonly #options: OwnershipOptions;
  readonly #groups = new Map<number, NumberedGroup>();
  readonly #groupOf = new Map<string, NumberedGroup>();
  readonly #owners = new Map<number, object>();

  constructor(options: OwnershipOptions) {
    this.#options = options;
    for (const group of options.groups) {
      this.#groups.set(group.id, group);
      for (const member of group.members) this.#groupOf.set(formatAddress(member), group);
    }
    options.drivers.guard = (address, driver) => this.#refusal(address, driver);
  }

  /** @throws VfioError ENOENT for a number that no group has */
  group(id: number): NumberedGroup {
    const found = this.#groups.get(id);
    if (!found) throw new VfioError("ENOENT", `There is no IOMMU group ${id}.`);
    return found;
  }

  /** The group of a function; undefined when no IOMMU translates it. */
  groupOf(address: FunctionAddress): NumberedGroup | undefined {
    return this.#groupOf.get(formatAddress(address));
  }

  /** Members bound to drivers that do DMA for the kernel. A group without any is viable. */
  blockers(id: number): readonly Blocker[] {
    const found: Blocker[] = [];
    for (const address of this.group(id).members) {
      const driver = this.#options.drivers.driverOf(address);
      if (driver && !driver.managesDma) found.push({ address, driver: driver.name });
    }
    return found;
  }

  ownerOf(id: number): object | undefined {
    return this.#owners.get(id);
  }

  /** Ranges reserved for any member. */
  reserved(id: number): readonly ReservedIova[] {
    const { reservedRegions } = this.#options;
    return reservedRegions ? this.group(id).members.flatMap((address) => reservedRegions(address)) : [MSI_WINDOW];
  }

  /** Ranges reserved for a function. */
  reservedFor(address: FunctionAddress): readonly ReservedIova[] {
    return this.#options.reservedRegions?.(address) ?? [MSI_WINDOW];
  }

  /**
   * Takes the group from the kernel; its functions are blocked until a domain is attached.
   * @throws VfioError EPERM when it is not viable or another's, EINVAL when firmware wants 1:1 mappings of a member
   */
  claim(id: number, owner: object): void {
    const [blocker] = this.blockers(id);
    if (blocker) throw new VfioError("EPERM", `Group ${id} is not viable: ${formatAddress(blocker.address)} is bound to ${blocker.driver}.`);
    const other = this.#owners.get(id);
    if (other && other !== owner) throw new VfioError("EPERM", `Group ${id} belongs to another user already.`);
    if (this.reserved(id).some(({ kind }) => kind === "direct")) throw new VfioError("EINVAL", `Firmware asks for 1:1 mappings of functions of group ${id}, which a user cannot be trusted to keep.`);
    this.#owners.set(id, owner);
    this.detach(id);
  }

  /** Gives the group back to the kernel. */
  release(id: number): void {
    if (!this.#owners.delete(id)) return;
    for (const address of this.group(id).members) {
      const domain = this.#options.kernelDomain?.(address);
      if (domain) this.#options.iommu.attach(address.requester, domain);
    }
  }

  /** Lets all functions of the group do DMA in a domain. @throws VfioError what the IOMMU's driver says; all are blocked then */
  attach(id: number, domain: IommuDomain): void {
    try {
      for (const { requester } of this.group(id).members) asVfioError(() => { this.#options.iommu.attach(requester, domain); });
    } catch (error) {
      this.detach(id);
      throw error;
    }
  }

  /** Blocks all functions of the group. */
  detach(id: number): void {
    for (const { requester } of this.group(id).members) this.#block(requester);
  }

  #block(requester: number): void {
    try {
      asVfioError(() => { this.#options.iommu.detach(requester); });
    } catch (error) {
      // EINVAL: nothing was attached, so the function is blocked as it should be.
      if (!(error instanceof VfioError && error.code === "EINVAL")) throw error;
    }
  }

  #refusal(address: FunctionAddress, driver: PciDriver): string | undefined {
    const group = this.groupOf(address);
    if (!group || driver.managesDma || !this.#owners.has(group.id)) return undefined;
    return `Driver ${driver.name} cannot have ${formatAddress(address)}: its group ${group.id} belongs to a user.`;
  }
}
