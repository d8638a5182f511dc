import { expect } from "vitest";
import { CCMD_REG, IOTLB_REG, IVA_REG } from "../../src/layouts/index.ts";
import type { Rig } from "./rig.ts";

/** Register-based invalidations, as software without a queue does them; the granularity that was done. VT-d §11.4.6. */
export const contextByRegister = (rig: Rig, fields: Record<string, number>): number => {
  rig.write(CCMD_REG, { ICC: 1, ...fields });
  const { ICC, CAIG } = rig.read(CCMD_REG);
  expect(ICC).toBe(0);
  return CAIG;
};
export const iotlbByRegister = (rig: Rig, fields: Record<string, number>, address: Record<string, number> = {}): number => {
  rig.write(IVA_REG, address);
  rig.write(IOTLB_REG, { IVT: 1, ...fields });
  const { IVT, IAIG } = rig.read(IOTLB_REG);
  expect(IVT).toBe(0);
  return IAIG;
};
