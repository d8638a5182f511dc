import type { BarDescription } from "../config/bar.ts";
import type { FunctionDescription } from "../config/function-config.ts";
import { CONVENTIONAL_SIZE, HeaderOffset } from "../config/offsets.ts";
import { decodeConfig } from "./decode.ts";
import type { DecodedCapability, DecodedConfig } from "./decoded.ts";
import type { CapabilityView } from "./definition.ts";
import { definitionOf } from "./definitions.ts";
import { pcieType } from "./find.ts";
import { capabilityImage, type CapabilityImage } from "./image.ts";

/** What configuration bytes alone do not say of a function: sizes are wired, not stored. */
export interface WiredSizes {
  readonly bars?: readonly BarDescription[];
  /** Bytes of the expansion ROM's BAR. */
  readonly romSize?: number;
}

const LINK_CAPABILITIES = 0xc;
const SECONDARY_HEADER = 1;

const viewOf = (bytes: Uint8Array, at: number, portType: number, lanes: number): CapabilityView => {
  const byte = (offset: number): number => bytes[at + offset] ?? 0xff;
  const word = (offset: number): number => byte(offset) | (byte(offset + 1) << 8);
  return { at, available: bytes.length - at, portType, lanes, byte, word, dword: (offset) => (word(offset) | (word(offset + 2) << 16)) >>> 0 };
};

const lanesOf = ({ capabilities }: DecodedConfig, bytes: Uint8Array): number => {
  const express = capabilities.find(({ id, extended }) => id === 0x10 && !extended);
  return express ? ((bytes[express.offset + LINK_CAPABILITIES] ?? 0) >> 4) | (((bytes[express.offset + LINK_CAPABILITIES + 1] ?? 0) & 3) << 4) : 0;
};

interface Surroundings {
  readonly portType: number;
  readonly lanes: number;
}

/** Where a capability ends at the latest: at the next one, or with the space it is in. */
const endOf = ({ offset, extended }: DecodedCapability, all: readonly DecodedCapability[], size: number): number => Math.min(extended ? size : CONVENTIONAL_SIZE, size, ...all.filter((other) => other.offset > offset).map((other) => other.offset));

/** A capability with the bytes it had, and registers that take writes where the specification says so. */
const imageOf = (bytes: Uint8Array, found: DecodedCapability, end: number, { portType, lanes }: Surroundings): CapabilityImage => {
  const { id, extended, offset } = found;
  const shape = definitionOf(id, extended)?.shape(viewOf(bytes, offset, portType, lanes));
  const header = extended ? 4 : 2;
  const length = Math.min(Math.max(header, shape?.length ?? header), end - offset);
  const whole = capabilityImage({ id, extended, ...(extended ? { version: Math.max(1, found.version ?? 1) } : {}), length, registers: registersWithin(shape?.registers ?? {}, length) }, {}, { at: offset });
  const image = whole.bytes;
  image.set(bytes.subarray(offset + header, offset + length), header);
  // What software had switched on or an error left is no part of the function: it starts as after power-on.
  for (let i = header; i < length; i++) image[i] = (image[i] as number) & ~((whole.writable[i] as number) | (whole.writeOneToClear[i] as number)); // same length
  return whole;
};

type Registers = Parameters<typeof capabilityImage>[0]["registers"];
const registersWithin = (registers: Registers, length: number): Registers => Object.fromEntries(Object.entries(registers).filter(([, { at, layout }]) => at + layout.width / 8 <= length));

/**
 * Describes a function whose configuration space was captured, so that a model of it can be made: the same identity,
 * the same capabilities at the same places, as after power-on, and registers that behave as the specification says.
 * Capabilities that are not known keep their header alone. Addresses in BARs and windows are not kept: firmware gives them.
 * @param bytes 64 bytes or more
 * @throws RangeError when there are fewer, or they are no configuration space
 */
export const descriptionFromConfig = (bytes: Uint8Array, wired: WiredSizes = {}): FunctionDescription => {
  if (bytes.length < 64) throw new RangeError(`Configuration space has 64 bytes at least; here are ${bytes.length}.`);
  const decoded = decodeConfig(bytes);
  const headerType = bytes[HeaderOffset.HeaderType] as number; // 64 bytes at least
  const header = (headerType & 0x7f) as 0 | 1;
  if (header > SECONDARY_HEADER) throw new RangeError(`Header type ${header} is none of a function or of a bridge.`);
  const word = (at: number): number => (bytes[at] as number) | ((bytes[at + 1] as number) << 8); // all in the header
  const surroundings = { portType: pcieType(bytes), lanes: lanesOf(decoded, bytes) };
  const { capabilities } = decoded;
  const subsystem = { subsystemVendor: word(HeaderOffset.SubsystemVendor), subsystemDevice: word(HeaderOffset.SubsystemVendor + 2) };
  return {
    vendor: word(HeaderOffset.Vendor),
    device: word(HeaderOffset.Device),
    classCode: word(HeaderOffset.Revision + 1) | ((bytes[HeaderOffset.Revision + 3] as number) << 16),
    revision: bytes[HeaderOffset.Revision] as number,
    header,
    multifunction: (headerType & 0x80) !== 0,
    interruptPin: Math.min(4, bytes[HeaderOffset.InterruptPin] as number),
    // A function with a PCI Express capability has the extended space, also where nothing was captured of it.
    express: bytes.length > CONVENTIONAL_SIZE || surroundings.portType >= 0,
    capabilities: capabilities.map((found) => imageOf(bytes, found, endOf(found, capabilities, bytes.length), surroundings)),
    ...(header === 0 ? subsystem : {}),
    ...(wired.bars ? { bars: wired.bars } : {}),
    ...(wired.romSize ? { romSize: wired.romSize } : {}),
  };
};
