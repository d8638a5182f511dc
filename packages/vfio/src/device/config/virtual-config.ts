import type { AccessSize } from "@iommu-lab/memory";
import type { Attachment } from "@iommu-lab/pci-bus/model";
import { VfioError } from "../../vfio-error.ts";
import { barOf } from "../regions.ts";
import { permissionsOf, type ConfigPermissions } from "./config-permissions.ts";

const COMMAND = 0x04;
const BAR0 = 0x10;
const ROM = 0x30;
const INTX_DISABLE = 0x400;
const POWER = 0x01;
const MSI = 0x05;
const EXPRESS = 0x10;
const ADVANCED_FEATURES = 0x13;

/** What a user's writes do beside changing bits. */
export interface ConfigActions {
  /** The device's own configuration space. */
  readonly read: (offset: number, size: AccessSize) => number;
  readonly write: (offset: number, size: AccessSize, value: number) => void;
  /** Function-level reset by one of the two capabilities; the host saves and restores. */
  readonly reset: () => void;
  /** Power state 0 to 3. */
  readonly setPowerState: (state: number) => void;
  /** The user's Interrupt Disable bit. */
  readonly setIntxMask: (on: boolean) => void;
  /** Message interrupts are on in the host. */
  readonly msiActive: () => boolean;
}

/** Configuration space as the user of an assigned device sees it. Linux drivers/vfio/pci/vfio_pci_config.c. */
export class VirtualConfig {
  readonly size: number;
  readonly #seat: Attachment;
  readonly #actions: ConfigActions;
  readonly #permissions: ConfigPermissions;

  constructor(seat: Attachment, actions: ConfigActions, identity: { readonly vendor: number; readonly device: number }) {
    this.#seat = seat;
    this.#actions = actions;
    this.size = seat.fn.config.size;
    const bytes = new Uint8Array(this.size);
    for (let at = 0; at < this.size; at += 1) bytes[at] = actions.read(at, 1);
    this.#permissions = permissionsOf(bytes, seat.virtualOf !== undefined);
    const view = new DataView(this.#permissions.image.buffer);
    view.setUint16(0, identity.vendor, true);
    view.setUint16(2, identity.device, true);
    if (seat.virtualOf) {
      // A virtual function has no Memory Space Enable (PCIe §9.3.4.1.3), though drivers look for it.
      view.setUint16(COMMAND, view.getUint16(COMMAND, true) | 2, true);
      view.setUint8(0x3d, 0);
    }
    view.setUint16(COMMAND, view.getUint16(COMMAND, true) & ~INTX_DISABLE, true);
    this.#initPower(view);
    this.#initBars(view);
  }

  /** The user's bits of the command register: his Interrupt Disable, and a virtual function's Memory Space Enable. */
  get command(): number {
    return this.#image16(COMMAND);
  }

  /** Where a conventional capability stands for the user; 0 when it is hidden or not there. */
  capability(id: number): number {
    return this.#permissions.places.get(id) ?? 0;
  }

  /** @throws VfioError EFAULT past the end */
  readInto(offset: number, into: Uint8Array): void {
    this.#check(offset, into.length);
    for (let done = 0; done < into.length;) {
      const size = pieceAt(offset + done, into.length - done);
      const value = this.#read(offset + done, size);
      for (let byte = 0; byte < size; byte++) into[done + byte] = (value >>> (8 * byte)) & 0xff;
      done += size;
    }
  }

  /** @throws VfioError EFAULT past the end */
  writeFrom(offset: number, from: Uint8Array): void {
    this.#check(offset, from.length);
    for (let done = 0; done < from.length;) {
      const size = pieceAt(offset + done, from.length - done);
      let value = 0;
      for (let byte = 0; byte < size; byte++) value = (value | ((from[done + byte] as number) << (8 * byte))) >>> 0;
      this.#write(offset + done, size, value);
      done += size;
    }
  }


  #read(offset: number, size: AccessSize): number {
    const virtual = gather(this.#permissions.virtual, offset, size);
    const own = gather(this.#permissions.image, offset, size);
    const whole = size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1;
    const real = virtual === whole ? 0 : this.#actions.read(offset, size);
    return ((real & ~virtual) | (own & virtual)) >>> 0;
  }

  #write(offset: number, size: AccessSize, value: number): void {
    const { virtual, writable, image } = this.#permissions;
    const mask = gather(writable, offset, size);
    const own = mask & gather(virtual, offset, size);
    const through = (mask & ~own) >>> 0;
    scatter(image, offset, size, ((gather(image, offset, size) & ~own) | (value & own)) >>> 0);
    if (through !== 0) {
      const old = this.#actions.read(offset, size);
      const made = ((old & ~through) | (value & through)) >>> 0;
      this.#actions.write(offset, size, made);
    }
    this.#act(offset, size, value);
  }

  #act(offset: number, size: AccessSize, value: number): void {
    const touches = (at: number, length: number): boolean => at > 0 && offset < at + length && offset + size > at;
    const byte = (at: number): number => (at >= offset && at < offset + size ? (value >>> (8 * (at - offset))) & 0xff : 0);
    if (touches(COMMAND + 1, 1)) this.#actions.setIntxMask((this.command & INTX_DISABLE) !== 0);
    if (touches(BAR0, 24) || touches(ROM, 4)) this.#fixBars();
    const power = this.capability(POWER);
    if (power && touches(power + 4, 1)) this.#setPower(power + 4, byte(power + 4) & 3);
    const msi = this.capability(MSI);
    if (msi && touches(msi + 2, 2)) this.#fixMsi(msi);
    const express = this.capability(EXPRESS);
    if (express && touches(express + 9, 1)) this.#startReset(express + 8, 0x8000, (this.#actions.read(express + 4, 4) & 0x1000_0000) !== 0);
    const features = this.capability(ADVANCED_FEATURES);
    if (features && touches(features + 4, 1)) this.#startReset(features + 4, 1, (this.#actions.read(features + 3, 1) & 3) === 3);
  }

  #startReset(at: number, bit: number, able: boolean): void {
    const value = this.#image16(at);
    if (!(value & bit)) return;
    scatter(this.#permissions.image, at, 2, value & ~bit);
    if (able) this.#actions.reset();
  }

  #setPower(at: number, state: number): void {
    scatter(this.#permissions.image, at, 1, ((this.#permissions.image[at] as number) & ~3) | state);
    this.#actions.setPowerState(state);
  }

  /** MSI is on only while the host has it on too; the number of vectors stays within what the function can. */
  #fixMsi(at: number): void {
    const { image } = this.#permissions;
    let control = this.#image16(at + 2);
    const able = (control >> 1) & 7;
    if (((control >> 4) & 7) > able) control = (control & ~0x70) | (able << 4);
    if (!this.#actions.msiActive()) control &= ~1;
    else {
      const real = this.#actions.read(at + 2, 2);
      this.#actions.write(at + 2, 2, (real & ~1) | (control & 1));
    }
    scatter(image, at + 2, 2, control);
  }

  #initPower(view: DataView): void {
    const at = this.capability(POWER);
    if (at === 0) return;
    view.setUint16(at + 2, view.getUint16(at + 2, true) & ~0xf800, true);
    view.setUint16(at + 4, view.getUint16(at + 4, true) & ~0x8100, true);
  }

  /** Virtual functions' headers hold no BARs: the user gets those of the SR-IOV capability. */
  #initBars(view: DataView): void {
    const { virtualOf } = this.#seat;
    if (virtualOf) for (const { at, index } of virtualOf.physical.virtualBars) view.setUint32(BAR0 + 4 * index, virtualOf.physical.fn.config.read(at, 4) & 0xf, true);
    this.#fixBars();
  }

  /** Address bits below a BAR's size read as zero, so that sizing works; type bits stay. */
  #fixBars(): void {
    const { image } = this.#permissions;
    const view = new DataView(image.buffer);
    for (let index = 0; index < 6; index++) {
      const at = BAR0 + 4 * index;
      const bar = barOf(this.#seat, index);
      if (!bar) {
        view.setUint32(at, 0, true);
        continue;
      }
      const type = bar.kind === "io" ? 1 : (bar.kind === "memory64" ? 4 : 0) | (bar.prefetchable ? 8 : 0);
      const low = bar.size >= 2 ** 32 ? 0 : -bar.size >>> 0;
      view.setUint32(at, ((view.getUint32(at, true) & low & (bar.kind === "io" ? ~3 : ~15)) | type) >>> 0, true);
      if (bar.kind !== "memory64") continue;
      const high = bar.size >= 2 ** 32 ? -(bar.size / 2 ** 32) >>> 0 : 0xffff_ffff;
      view.setUint32(at + 4, (view.getUint32(at + 4, true) & high) >>> 0, true);
      index++;
    }
    const rom = this.#seat.fn.rom ? this.#seat.rom : undefined;
    view.setUint32(ROM, rom ? (view.getUint32(ROM, true) & ((-rom.size | 1) >>> 0)) >>> 0 : 0, true);
  }

  #image16(at: number): number {
    return gather(this.#permissions.image, at, 2);
  }

  #check(offset: number, length: number): void {
    if (!(Number.isInteger(offset) && offset >= 0 && offset + length <= this.size)) throw new VfioError("EFAULT", `Bytes ${offset} to ${offset + length} are not within ${this.size} bytes of configuration space.`);
  }
}

/** The largest aligned piece at an offset, as the kernel cuts accesses. */
const pieceAt = (offset: number, left: number): AccessSize => (left >= 4 && offset % 4 === 0 ? 4 : left >= 2 && offset % 2 === 0 ? 2 : 1);

const gather = (bytes: Uint8Array, at: number, size: number): number => {
  let value = 0;
  for (let byte = size - 1; byte >= 0; byte--) value = value * 256 + (bytes[at + byte] as number);
  return value;
};

const scatter = (bytes: Uint8Array, at: number, size: number, value: number): void => {
  for (let byte = 0; byte < size; byte++) bytes[at + byte] = (value >>> (8 * byte)) & 0xff;
};
