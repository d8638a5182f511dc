/** What QEMU's unit is built with; both sides take their capabilities from it. */
export interface Configuration {
  /** Guest and host address width, bits. */
  readonly aw: 39 | 48;
  readonly scalable: boolean;
  readonly snoopControl: boolean;
  readonly cachingMode: boolean;
  readonly eim: boolean;
}

/** QEMU's options for it. */
export const optionsOf = ({ aw, scalable, snoopControl, cachingMode, eim }: Configuration): string =>
  [`aw-bits=${aw}`, "intremap=on", ...(scalable ? ["x-scalable-mode=on"] : []), ...(snoopControl ? ["snoop-control=on"] : []), ...(cachingMode ? ["caching-mode=on"] : []), ...(eim ? ["eim=on", "x-buggy-eim=on"] : [])].join(",");
