import { deflateSync, strToU8 } from "fflate";
import { expect } from "vitest";
import { formatAddress, parseAddress } from "../src/state/address.ts";
import { FIRST, readState, VIEWS } from "../src/state/app-state.ts";

/** Bytes as addresses hold them. */
export const base64Url = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");

/** Reads so many random texts, and true addresses with something changed in them: each gives a state, and none throws. */
export const fuzzAddresses = (count: number): void => {
  let seed = Number(process.env.IOMMU_LAB_SEED ?? Math.floor(Math.random() * 2 ** 31)) >>> 0;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const character = (): string => String.fromCharCode(random(4) === 0 ? random(0x3000) : 32 + random(95));
  const noise = (most: number): string => Array.from({ length: random(most) }, character).join("");
  const truth = [formatAddress({ ...FIRST, step: 99, selection: { device: "0000:01:00.0" }, views: { walk: { mode: "legacy" } } }), "#/run/ats-stale?iommu=amd&seed=3&without=x", "#/example/rogue-device"];
  const words = ["view", "run", "step", "views", "selection", "language", "seed", "story", "intel", "es", null, true, -1, 1e300, "__proto__"];
  const value = (depth: number): unknown => {
    const kind = random(depth > 2 ? 2 : 4);
    if (kind < 2) return words[random(words.length)];
    return kind === 2 ? Array.from({ length: random(3) }, () => value(depth + 1)) : Object.fromEntries(Array.from({ length: random(4) }, () => [String(words[random(words.length)]), value(depth + 1)]));
  };
  const kinds: readonly (() => string)[] = [
    () => `#${noise(40)}`,
    () => `#v1.${noise(40)}`,
    () => `#v1.${base64Url(Uint8Array.from({ length: random(60) }, () => random(256)))}`,
    () => `#v1.${base64Url(deflateSync(strToU8(JSON.stringify(value(0) ?? null)), { level: 1, mem: 1 }))}`,
    () => {
      const whole = truth[random(truth.length)]!;
      const at = random(whole.length);
      return whole.slice(0, at) + noise(3) + whole.slice(at + random(3));
    },
  ];
  for (let i = 0; i < count; i++) {
    const fragment = kinds[random(kinds.length)]!();
    const state = parseAddress(fragment);
    if (!VIEWS.includes(state.view) || JSON.stringify(readState(state)) !== JSON.stringify(state)) expect(readState(state), fragment).toEqual(state);
  }
};
