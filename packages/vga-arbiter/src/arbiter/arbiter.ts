import { formatAddress } from "@iommu-lab/pci-bus";
import { VgaArbiterError } from "../legacy/error.ts";
import { formatResources, LEGACY_RESOURCES, VgaResource, type VgaResources } from "../legacy/resources.ts";
import { bootReason, type BootReason } from "./boot-choice.ts";
import { updateBridgeSharing } from "./bridge-sharing.ts";
import type { FirmwareFramebuffer, VgaDevice } from "./device.ts";
import { handOver, type HandOver } from "./hand-over.ts";
import { isVgaClass, kernelProfile, type KernelProfile } from "./kernel-profile.ts";
import { dropLocks } from "./locks.ts";
import { WaitingRequest, type VgaRequest } from "./request.ts";
import { routedResources } from "./routing.ts";
import { newState, type MutableState, type SetDecode, type VgaState } from "./vga-state.ts";

/** What the arbiter's decisions depend on beside the devices. */
export interface VgaArbiterOptions {
  /** Kernel version, such as "6.12" or the release that `uname -r` prints. */
  readonly kernel: string;
  /** What firmware left; none after a boot in text mode. */
  readonly framebuffer?: FirmwareFramebuffer | undefined;
  /** Takes the kernel's log lines, without time stamps. */
  readonly log?: ((line: string) => void) | undefined;
  /** Called after decodes, owners or locks have changed, or somebody waits. */
  readonly changed?: ((arbiter: VgaArbiter) => void) | undefined;
}

const BAD_BRIDGE = "A bridge above does not keep VGA Enable.";

/** Linux's VGA arbiter: hands the legacy VGA ranges of a machine to one device at a time. drivers/pci/vgaarb.c of 6.1 to 7.3. */
export class VgaArbiter {
  readonly profile: KernelProfile;
  readonly #framebuffer: FirmwareFramebuffer | undefined;
  readonly #log: (line: string) => void;
  readonly #changed: (arbiter: VgaArbiter) => void;
  #states: readonly MutableState[] = [];
  #waiting: readonly WaitingRequest[] = [];
  #listeners: readonly (() => void)[] = [];
  #default: VgaDevice | undefined;
  #reason: BootReason | undefined;
  #decodeCount = 0;
  #used = false;
  #ownerChanges = 0;

  /** @throws RangeError when `kernel` is no version */
  constructor(options: VgaArbiterOptions) {
    this.profile = kernelProfile(options.kernel);
    this.#framebuffer = options.framebuffer;
    this.#log = options.log ?? (() => undefined);
    this.#changed = options.changed ?? (() => undefined);
  }

  /** Registered devices in the order they were added. */
  get states(): readonly VgaState[] {
    return this.#states;
  }

  /** How many devices decode a legacy range: the count that /dev/vga_arbiter shows. */
  get decodeCount(): number {
    return this.#decodeCount;
  }

  /** The boot VGA device: the one whose `boot_vga` reads 1. */
  get defaultDevice(): VgaDevice | undefined {
    return this.#default;
  }

  /** The rule that chose the default device; undefined when none did, or a driver set it. */
  get defaultReason(): BootReason | undefined {
    return this.#reason;
  }

  /** How often legacy ranges went from one device to another. */
  get ownerChanges(): number {
    return this.#ownerChanges;
  }

  /** Those who wait in `get`, in their order. */
  get waiting(): readonly VgaRequest[] {
    return this.#waiting.filter(({ status }) => status === "waiting");
  }

  /** What is known of a device; undefined when it is not registered. */
  stateOf(device: VgaDevice): VgaState | undefined {
    return this.#find(device);
  }

  /** Adds the devices of a VGA class, as at boot, and ends with the line "vgaarb: loaded". */
  scan(devices: Iterable<VgaDevice>): void {
    for (const device of devices) this.add(device);
    this.#log("vgaarb: loaded");
  }

  /** Registers a device, at boot or hot-added. @returns false when its class is not VGA's, or it is registered already */
  add(device: VgaDevice): boolean {
    if (!isVgaClass(device.classCode, this.profile) || this.#find(device)) return false;
    const state = newState(device);
    state.owns = routedResources(device);
    const current = this.#default && this.#find(this.#default);
    const reason = bootReason(state, current, this.#framebuffer, this.profile);
    if (reason) {
      this.#tell(device, `setting as boot VGA device${this.#default ? " (overriding previous)" : ""}`);
      this.#default = device;
      this.#reason = reason;
    }
    updateBridgeSharing(state, this.#states);
    this.#tell(device, state.bridgeHasOneVga ? "bridge control possible" : "no bridge control possible");
    this.#states = [...this.#states, state];
    this.#decodeCount++;
    this.#tell(device, `VGA device added: decodes=${formatResources(state.decodes)},owns=${formatResources(state.owns)},locks=${formatResources(state.locks)}`);
    this.#notifyDrivers();
    this.#changed(this);
    return true;
  }

  /** Forgets a device that was pulled out; those who wait look again. @returns false when it was not registered */
  remove(device: VgaDevice): boolean {
    const state = this.#find(device);
    if (!state) return false;
    if (this.#default === device) this.setDefault(undefined);
    if (state.decodes & LEGACY_RESOURCES) this.#decodeCount--;
    this.#states = this.#states.filter((each) => each !== state);
    this.#wake();
    this.#notifyDrivers();
    this.#changed(this);
    return true;
  }

  /** Makes another device the default, as a few drivers do. Linux vga_set_default_device(). */
  setDefault(device: VgaDevice | undefined): void {
    if (this.#default === device) return;
    this.#default = device;
    this.#reason = undefined;
  }

  /**
   * Locks resources for a device and routes them to it, or fails at once. Linux vga_tryget().
   * @throws VgaArbiterError EBUSY while another device's lock is in the way, EIO when a bridge cannot pass the ranges down, ENODEV when the device is not registered
   */
  tryGet(device: VgaDevice, resources: VgaResources): void {
    this.#firstUse();
    const result = this.#handOver(this.#require(device), resources);
    if (result.kind === "conflict") throw new VgaArbiterError("EBUSY", `${formatAddress(result.holder.device.address)} holds ${formatResources(result.holder.locks)}.`);
    if (result.kind === "no-vga-enable") throw new VgaArbiterError("EIO", BAD_BRIDGE);
  }

  /**
   * Locks resources for a device and routes them to it, waiting while another's lock is in the way. Linux vga_get().
   * @param settled called when the request is granted or fails, at once or later
   * @throws VgaArbiterError ENODEV when the device is not registered
   */
  get(device: VgaDevice, resources: VgaResources, settled?: (request: VgaRequest) => void): VgaRequest {
    this.#firstUse();
    this.#require(device);
    const request = new WaitingRequest(device, resources, settled);
    if (!this.#attempt(request)) {
      this.#waiting = [...this.#waiting, request];
      this.#changed(this);
    }
    return request;
  }

  /** Releases resources of a device; they stay routed to it until another wants them. Unknown devices are let pass. Linux vga_put(). */
  put(device: VgaDevice, resources: VgaResources): void {
    const state = this.#find(device);
    if (!state) return;
    const free = dropLocks(state, resources);
    this.#changed(this);
    if (free) this.#wake();
  }

  /** A driver tells which legacy ranges its device decodes. Linux vga_set_legacy_decoding(). */
  setLegacyDecoding(device: VgaDevice, decodes: VgaResources): void {
    const state = this.#find(device);
    if (state) this.#updateDecodes(state, decodes & LEGACY_RESOURCES);
  }

  /** The same from user space: ignored for a device whose driver can be asked. */
  setLegacyDecodingByUser(device: VgaDevice, decodes: VgaResources): void {
    const state = this.#find(device);
    if (state && !state.setDecode) this.#updateDecodes(state, decodes & LEGACY_RESOURCES);
  }

  /**
   * A driver offers a way to be asked, or takes it back with undefined. It is asked after each device that comes or goes, once
   * anybody used the arbiter. Linux vga_client_register().
   * @throws VgaArbiterError ENODEV when the device is not registered
   */
  register(device: VgaDevice, setDecode: SetDecode | undefined): void {
    this.#require(device).setDecode = setDecode;
  }

  /** The console on VGA text mode is taken away because a driver takes this device over; only the default device has it. Linux vga_remove_vgacon(). */
  removeConsole(device: VgaDevice): void {
    if (device === this.#default) this.#tell(device, "deactivate vga console");
  }

  /** Calls `listener` when those who wait are woken. Returns what undoes it. */
  onWake(listener: () => void): () => void {
    this.#listeners = [...this.#listeners, listener];
    return () => {
      this.#listeners = this.#listeners.filter((each) => each !== listener);
    };
  }

  #find(device: VgaDevice): MutableState | undefined {
    return this.#states.find((state) => state.device === device);
  }

  #require(device: VgaDevice): MutableState {
    const state = this.#find(device);
    if (!state) throw new VgaArbiterError("ENODEV", `${formatAddress(device.address)} is no VGA device of the arbiter.`);
    return state;
  }

  #tell(device: VgaDevice, text: string): void {
    this.#log(`${device.driver ?? "pci"} ${formatAddress(device.address)}: vgaarb: ${text}`);
  }

  #handOver(state: MutableState, resources: VgaResources): HandOver {
    const result = handOver(state, resources, this.#states);
    if (result.kind !== "locked") return result;
    if (result.moved) this.#ownerChanges++;
    this.#changed(this);
    return result;
  }

  /** @returns whether the request no longer waits */
  #attempt(request: WaitingRequest): boolean {
    const state = this.#find(request.device);
    if (!state) {
      request.settle("failed", new VgaArbiterError("ENODEV", `${formatAddress(request.device.address)} was removed.`));
      return true;
    }
    const result = this.#handOver(state, request.resources);
    if (result.kind === "conflict") return false;
    if (result.kind === "locked") request.settle("granted");
    else request.settle("failed", new VgaArbiterError("EIO", BAD_BRIDGE));
    return true;
  }

  /** Lets everybody who waits try again, in order. Whoever is told of a grant may call back into the arbiter. */
  #wake(): void {
    for (const listener of this.#listeners) listener();
    for (const request of this.#waiting) {
      if (request.status === "waiting" && !this.#attempt(request)) continue;
      this.#waiting = this.#waiting.filter((each) => each !== request);
      this.#changed(this);
    }
  }

  /** Until somebody uses the arbiter, no driver is asked to give anything up. */
  #firstUse(): void {
    if (this.#used) return;
    this.#used = true;
    this.#notifyDrivers();
  }

  #notifyDrivers(): void {
    if (!this.#used) return;
    const alone = this.#states.length <= 1;
    for (const state of this.#states) if (state.setDecode) this.#updateDecodes(state, state.setDecode(alone));
  }

  #updateDecodes(state: MutableState, decodes: VgaResources): void {
    const old = state.decodes;
    const unlocked = state.locks & old & ~decodes;
    state.decodes = decodes;
    this.#tell(state.device, `${this.profile.decodesChanged}: olddecodes=${formatResources(old)},decodes=${formatResources(decodes)}:owns=${formatResources(state.owns)}`);
    if (unlocked & VgaResource.LegacyIo) state.ioLocks = 0;
    if (unlocked & VgaResource.LegacyMemory) state.memoryLocks = 0;
    if (old & LEGACY_RESOURCES && !(decodes & LEGACY_RESOURCES)) this.#decodeCount--;
    if (!(old & LEGACY_RESOURCES) && decodes & LEGACY_RESOURCES) this.#decodeCount++;
    const free = unlocked !== 0 && dropLocks(state, unlocked);
    this.#changed(this);
    if (free) this.#wake();
  }
}
