export { AmdDriver } from "./amd-driver.ts";
export type { AmdDriverOptions, AmdUnitWindow } from "./options.ts";
