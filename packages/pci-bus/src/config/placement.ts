import type { CapabilityImage } from "../capabilities/image.ts";
import { STATUS } from "./header.ts";
import { CONVENTIONAL_SIZE, FIRST_CAPABILITY, FIRST_EXTENDED, HeaderOffset } from "./offsets.ts";
import type { RegisterImage } from "./register.ts";

/** A capability and the offset it got. */
export interface PlacedCapability {
  readonly image: CapabilityImage;
  readonly at: number;
}

const hexOf = (value: number): string => `0x${value.toString(16)}`;

/** Gives every capability its place: fixed ones where they want to be, the others in the first gaps, in their order. */
const assign = (images: readonly CapabilityImage[], first: number, limit: number): PlacedCapability[] => {
  const taken = new Uint8Array(limit);
  const take = (image: CapabilityImage, at: number): void => {
    const end = at + image.bytes.length;
    if (at < first || at % 4 !== 0 || end > limit) throw new RangeError(`Capability ${hexOf(image.id)} cannot stand at offset ${hexOf(at)} with ${image.bytes.length} bytes; allowed are multiples of 4 from ${hexOf(first)}, ending by ${hexOf(limit)}.`);
    if (taken.subarray(at, end).includes(1)) throw new RangeError(`Capability ${hexOf(image.id)} at offset ${hexOf(at)} overlaps another.`);
    taken.fill(1, at, end);
  };
  for (const image of images) if (image.at !== undefined) take(image, image.at);
  return images.map((image) => {
    if (image.at !== undefined) return { image, at: image.at };
    for (let at = first; at + image.bytes.length <= limit; at += 4) {
      if (taken.subarray(at, at + image.bytes.length).includes(1)) continue;
      take(image, at);
      return { image, at };
    }
    throw new RangeError(`Capability ${hexOf(image.id)} with ${image.bytes.length} bytes finds no room between ${hexOf(first)} and ${hexOf(limit)}.`);
  });
};

const copy = (into: RegisterImage, { image, at }: PlacedCapability): void => {
  into.bytes.set(image.bytes, at);
  into.writable.set(image.writable, at);
  into.writeOneToClear.set(image.writeOneToClear, at);
  if (image.sticky) into.sticky.set(image.sticky, at);
  if (image.keptByFunctionReset) into.keptByFunctionReset.set(image.keptByFunctionReset, at);
};

const placeConventional = (into: RegisterImage, images: readonly CapabilityImage[]): PlacedCapability[] => {
  const placed = assign(images, FIRST_CAPABILITY, CONVENTIONAL_SIZE);
  let link: number = HeaderOffset.CapabilitiesPointer;
  for (const capability of placed) {
    copy(into, capability);
    into.bytes[link] = capability.at;
    link = capability.at + 1;
  }
  if (placed.length > 0) into.bytes[HeaderOffset.Status] = into.bytes[HeaderOffset.Status]! | (1 << STATUS.fields.CapabilitiesList.lsb);
  return placed;
};

/** The chain of extended capabilities begins at 0x100 whatever stands there; where nothing does, a null capability only points on. PCIe §7.6.2. */
const placeExtended = (into: RegisterImage, images: readonly CapabilityImage[]): PlacedCapability[] => {
  const placed = assign(images, FIRST_EXTENDED, into.bytes.length);
  const chain = [...placed.filter(({ at }) => at === FIRST_EXTENDED), ...placed.filter(({ at }) => at !== FIRST_EXTENDED)];
  let link = FIRST_EXTENDED;
  for (const capability of chain) {
    copy(into, capability);
    if (capability.at !== FIRST_EXTENDED) {
      into.bytes[link + 2] = (into.bytes[link + 2]! & 0x0f) | ((capability.at & 0x0f) << 4);
      into.bytes[link + 3] = capability.at >> 4;
    }
    link = capability.at;
  }
  return placed;
};

/**
 * Puts capabilities into a configuration space and links them in their order.
 * @throws RangeError when one finds no room, overlaps another, or is extended in a space of 256 bytes
 */
export const placeCapabilities = (into: RegisterImage, images: readonly CapabilityImage[]): PlacedCapability[] => {
  const extended = images.filter((image) => image.extended);
  if (extended.length > 0 && into.bytes.length <= CONVENTIONAL_SIZE) throw new RangeError(`Extended capability ${hexOf(extended[0]?.id ?? 0)} needs 0x1000 bytes of configuration space; this function has 0x100.`);
  return [...placeConventional(into, images.filter((image) => !image.extended)), ...placeExtended(into, extended)];
};
