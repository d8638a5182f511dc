export type { VtdDriverOptions, VtdEventMessage, VtdUnitWindow } from "./options.ts";
export { VtdDriver } from "./vtd-driver.ts";
