import { compareAddresses, formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { describeFunctions, type RootComplex } from "@iommu-lab/pci-bus/model";
import { VfioError } from "../vfio-error.ts";
import { matchesId, type PciDeviceId, type PciDriver, type PciIdentity, type ProbeFailure } from "./pci-driver.ts";

interface Registered {
  readonly driver: PciDriver;
  /** Entries added by new_id. */
  dynamic: readonly PciDeviceId[];
}

interface Bound {
  readonly identity: PciIdentity;
  driver: PciDriver | undefined;
  override: string | undefined;
}

/** What stands in a function's place where only its numbers count. */
const NOWHERE: FunctionAddress = { domain: 0, requester: 0 };
/** PCI_ANY_ID: no function has it. */
const ANY_ID = 0xffff_ffff;

/** Whether an entry of the driver, its own or one that was added, fits a function. */
const fits = ({ driver, dynamic }: Registered, identity: PciIdentity): boolean => [...dynamic, ...driver.ids].some((id) => matchesId(id, identity));

/** Whether what is written to remove_id means this entry: what is left out means any. Linux remove_id_store. */
const isSaidBy = (written: PciDeviceId, entry: PciDeviceId): boolean =>
  written.vendor === entry.vendor &&
  written.device === entry.device &&
  (written.subsystemVendor ?? entry.subsystemVendor) === entry.subsystemVendor &&
  (written.subsystemDevice ?? entry.subsystemDevice) === entry.subsystemDevice &&
  (written.classCode === undefined || ((written.classCode ^ (entry.classCode ?? 0)) & (written.classMask ?? 0xff_ffff)) === 0);

/** What the functions of a machine of the model are, as a scan of its buses shows it. */
export const identitiesOf = (complex: RootComplex): PciIdentity[] =>
  describeFunctions(complex).map(({ address, config, physicalFunction }) => {
    const view = new DataView(config.buffer, config.byteOffset);
    const bridge = ((config[0x0e] ?? 0) & 0x7f) === 1;
    const physical = physicalFunction && complex.find(physicalFunction);
    return {
      address,
      // A virtual function's IDs read as all ones; its physical function has them. PCIe §9.3.4.1.1.
      vendor: physical ? physical.fn.config.read(0, 2) : view.getUint16(0, true),
      device: physical ? physical.fn.config.read(physical.places.sriov + 0x1a, 2) : view.getUint16(2, true),
      subsystemVendor: bridge ? 0 : view.getUint16(0x2c, true),
      subsystemDevice: bridge ? 0 : view.getUint16(0x2e, true),
      classCode: view.getUint32(8, true) >>> 8,
      bridge,
    };
  });

/**
 * Which driver has which function, with the files by which people change it: bind, unbind, new_id, remove_id,
 * driver_override and drivers_probe. Linux Documentation/ABI/testing/sysfs-bus-pci, drivers/pci/pci-driver.c.
 */
export class PciDrivers {
  readonly #functions = new Map<string, Bound>();
  readonly #drivers = new Map<string, Registered>();
  /** A reason why a driver may not have a function now: its group belongs to a user. Set by `VfioKernel`. */
  guard: ((address: FunctionAddress, driver: PciDriver) => string | undefined) | undefined;

  /** Why VFIO cannot offer a function, beside what its driver says. Set by `VfioKernel`. */
  vfioRefusal: ((address: FunctionAddress) => ProbeFailure | undefined) | undefined;

  constructor(functions: readonly PciIdentity[]) {
    for (const each of functions) this.add(each);
  }

  /** A function appeared: drivers are tried on it. */
  add(identity: PciIdentity): void {
    const bound: Bound = { identity, driver: undefined, override: undefined };
    this.#functions.set(formatAddress(identity.address), bound);
    this.#attach(bound);
  }

  /** A function is gone; its driver lets go first. */
  remove(address: FunctionAddress): void {
    const bound = this.#find(address);
    this.#release(bound);
    this.#functions.delete(formatAddress(address));
  }

  /** Loads a driver, which is then tried on every function without one. @throws VfioError EBUSY when one of that name is there */
  register(driver: PciDriver): void {
    if (this.#drivers.has(driver.name)) throw new VfioError("EBUSY", `Driver ${driver.name} is registered already.`);
    this.#drivers.set(driver.name, { driver, dynamic: [] });
    this.#attachAll();
  }

  /** Unloads a driver, which lets go of its functions. @throws VfioError ENOENT when it is not loaded */
  unregister(name: string): void {
    const { driver } = this.#driver(name);
    for (const bound of this.#sorted()) if (bound.driver === driver) this.#release(bound);
    this.#drivers.delete(name);
  }

  /** The driver of a function, or undefined. @throws VfioError ENODEV for a function that does not exist */
  driverOf(address: FunctionAddress): PciDriver | undefined {
    return this.#find(address).driver;
  }

  /** What driver_override holds. */
  overrideOf(address: FunctionAddress): string | undefined {
    return this.#find(address).override;
  }

  /** What the function is. @throws VfioError ENODEV for a function that does not exist */
  identityOf(address: FunctionAddress): PciIdentity {
    return this.#find(address).identity;
  }

  /**
   * /sys/bus/pci/drivers/NAME/bind.
   * @throws VfioError in the order of Linux bind_store: ENOENT when the driver is not loaded, so that the file is not there;
   *   ENODEV where the function does not exist or the driver does not match; EBUSY when the function has a driver, or its
   *   group a user; or what the driver's probe says
   */
  bind(name: string, address: FunctionAddress): void {
    const registered = this.#driver(name);
    const bound = this.#find(address);
    if (!this.#matches(registered, bound)) throw new VfioError("ENODEV", `Driver ${name} does not match ${formatAddress(address)}; add its ID with new_id or set driver_override.`);
    if (bound.driver) throw new VfioError("EBUSY", `${formatAddress(address)} is bound to ${bound.driver.name}.`);
    this.#probe(registered.driver, bound);
  }

  /** /sys/bus/pci/drivers/NAME/unbind. @throws VfioError ENOENT when the driver is not loaded, ENODEV when it does not have the function */
  unbind(name: string, address: FunctionAddress): void {
    const { driver } = this.#driver(name);
    const bound = this.#find(address);
    if (bound.driver !== driver) throw new VfioError("ENODEV", `${formatAddress(address)} is not bound to ${name} but ${bound.driver ? `to ${bound.driver.name}` : "to no driver"}.`);
    this.#release(bound);
  }

  /**
   * …/new_id: the driver is tried on every function without one that now matches.
   * @throws VfioError ENOENT when the driver is not loaded, EINVAL without a vendor and a device, EEXIST when an entry of
   *   the driver fits the numbers that were written already
   */
  newId(name: string, id: PciDeviceId): void {
    const registered = this.#driver(name);
    if (id.vendor === undefined || id.device === undefined) throw new VfioError("EINVAL", "new_id needs a vendor and a device at least.");
    // Linux asks as for a function that has just these numbers: an entry for one subsystem or class does not fit it.
    const written: PciIdentity = { address: NOWHERE, vendor: id.vendor, device: id.device, subsystemVendor: id.subsystemVendor ?? ANY_ID, subsystemDevice: id.subsystemDevice ?? ANY_ID, classCode: id.classCode ?? 0, bridge: false };
    if (fits(registered, written)) throw new VfioError("EEXIST", `Driver ${name} has that ID already.`);
    registered.dynamic = [...registered.dynamic, id];
    this.#attachAll();
  }

  /** …/remove_id: only what new_id added; functions stay bound. @throws VfioError ENOENT when the driver is not loaded, EINVAL without a vendor and a device, ENODEV when new_id did not add it */
  removeId(name: string, id: PciDeviceId): void {
    const registered = this.#driver(name);
    if (id.vendor === undefined || id.device === undefined) throw new VfioError("EINVAL", "remove_id needs a vendor and a device at least.");
    const at = registered.dynamic.findIndex((each) => isSaidBy(id, each));
    if (at < 0) throw new VfioError("ENODEV", `Driver ${name} was not given that ID by new_id.`);
    registered.dynamic = registered.dynamic.filter((_, index) => index !== at);
  }

  /** …/driver_override: only this driver is tried on the function from now on; undefined lets every driver. Binds and unbinds nothing. @throws VfioError ENOENT for a function that does not exist: the file is in its directory */
  setOverride(address: FunctionAddress, name: string | undefined): void {
    const bound = this.#functions.get(formatAddress(address));
    if (!bound) throw new VfioError("ENOENT", `There is no function ${formatAddress(address)}.`);
    bound.override = name;
  }

  /**
   * /sys/bus/pci/drivers_probe: tries the drivers on a function that has none; a failed probe is no error.
   * @throws VfioError ENODEV for a function that does not exist, EINVAL when its group belongs to a user and a driver that
   *   does DMA for the host matches
   */
  driversProbe(address: FunctionAddress): void {
    const refusal = this.#attach(this.#find(address));
    if (refusal !== undefined) throw new VfioError("EINVAL", refusal);
  }

  /**
   * What libvirt does to a managed function before a guest starts: override, unbind, probe.
   * @throws VfioError when the driver is not there or will not have the function; then nothing has changed
   */
  detach(address: FunctionAddress, name = "vfio-pci"): void {
    const bound = this.#find(address);
    const { driver } = this.#driver(name);
    if (bound.driver === driver) return;
    const before = { driver: bound.driver, override: bound.override };
    bound.override = name;
    this.#release(bound);
    try {
      this.#probe(driver, bound);
    } catch (error) {
      bound.override = before.override;
      if (before.driver) this.#probe(before.driver, bound);
      throw error;
    }
  }

  /** What libvirt does once the guest is gone: no override, unbind, probe. */
  reattach(address: FunctionAddress): void {
    const bound = this.#find(address);
    bound.override = undefined;
    this.#release(bound);
    this.#attach(bound);
  }

  #find(address: FunctionAddress): Bound {
    const found = this.#functions.get(formatAddress(address));
    if (!found) throw new VfioError("ENODEV", `There is no function ${formatAddress(address)}.`);
    return found;
  }

  #driver(name: string): Registered {
    const found = this.#drivers.get(name);
    // A driver that is not loaded has no directory, so none of its files.
    if (!found) throw new VfioError("ENOENT", `Driver ${name} is not loaded.`);
    return found;
  }

  #matches(registered: Registered, { identity, override }: Bound): boolean {
    return override === undefined ? fits(registered, identity) : override === registered.driver.name;
  }

  #probe(driver: PciDriver, bound: Bound): void {
    const { address } = bound.identity;
    const owned = this.guard?.(address, driver);
    if (owned !== undefined) throw new VfioError("EBUSY", owned);
    this.#take(driver, bound);
  }

  #take(driver: PciDriver, bound: Bound): void {
    const { address } = bound.identity;
    const failure = driver.probe?.(bound.identity) ?? (driver.vfio ? this.vfioRefusal?.(address) : undefined);
    if (failure) throw new VfioError(failure.code, `Driver ${driver.name} does not take ${formatAddress(address)}: ${failure.text}.`);
    bound.driver = driver;
  }

  #release(bound: Bound): void {
    const { driver } = bound;
    driver?.remove?.(bound.identity.address);
    bound.driver = undefined;
  }

  /** Tries the drivers, as Linux __device_attach. @returns why no more were tried: the function's group belongs to a user */
  #attach(bound: Bound): string | undefined {
    for (const registered of this.#drivers.values()) {
      if (bound.driver) return undefined;
      const { driver } = registered;
      if (!this.#matches(registered, bound)) continue;
      const owned = this.guard?.(bound.identity.address, driver);
      if (owned !== undefined) return owned;
      try {
        this.#take(driver, bound);
      } catch (error) {
        // The next driver may have it.
        if (!(error instanceof VfioError)) throw error;
      }
    }
    return undefined;
  }

  #attachAll(): void {
    for (const bound of this.#sorted()) this.#attach(bound);
  }

  #sorted(): Bound[] {
    return [...this.#functions.values()].sort((a, b) => compareAddresses(a.identity.address, b.identity.address));
  }
}
