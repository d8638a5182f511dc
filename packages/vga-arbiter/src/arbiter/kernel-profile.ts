/** What differs between kernels in VGA arbitration. */
export interface KernelProfile {
  /** Class 0x0001, "not defined" VGA, is registered as well as 0x0300: since 6.12. */
  readonly legacyClass: boolean;
  /** The first device becomes the default although it decodes nothing: until 7.2. */
  readonly acceptsDisabled: boolean;
  /** Firmware's frame buffer is found by the BAR that holds it, or, since 7.2, is the function matched at boot. */
  readonly framebuffer: "bars" | "device";
  /** Start of the line about changed decoding. */
  readonly decodesChanged: "changed VGA decodes" | "VGA decodes changed";
}

const isFrom = (version: readonly number[], major: number, minor: number): boolean => (version[0] as number) > major || (version[0] === major && (version[1] as number) >= minor);

/**
 * The rules of a kernel version, such as "6.1", "6.12.107" or "7.2.13+deb14-amd64".
 * Model: of the versions between those that were read (6.1, 6.12, 7.2) each counts as the older one.
 * @throws RangeError when the text does not begin with two numbers
 */
export const kernelProfile = (version: string): KernelProfile => {
  const match = /^(\d{1,4})\.(\d{1,4})(?!\d)/.exec(version);
  if (!match) throw new RangeError(`"${version}" is no kernel version; expected one like "6.12" or "6.1.0-56-amd64".`);
  const numbers = [Number(match[1]), Number(match[2])];
  const modern = isFrom(numbers, 6, 12);
  const newest = isFrom(numbers, 7, 2);
  return {
    legacyClass: modern,
    acceptsDisabled: !newest,
    framebuffer: newest ? "device" : "bars",
    decodesChanged: modern ? "VGA decodes changed" : "changed VGA decodes",
  };
};

const VGA = 0x0300;
const NOT_DEFINED_VGA = 0x0001;

/** Whether the arbiter registers a function of this 24-bit class: not 3D controllers (0x0302) and not other displays (0x0380). */
export const isVgaClass = (classCode: number, profile: KernelProfile): boolean => {
  const type = classCode >>> 8;
  return type === VGA || (type === NOT_DEFINED_VGA && profile.legacyClass);
};
