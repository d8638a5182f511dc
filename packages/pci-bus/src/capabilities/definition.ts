import type { Layout, Values } from "@iommu-lab/memory/layout";
import type { Fields } from "../config/register.ts";
import type { CapabilityShape } from "./image.ts";

/** Initial values for some fields of one layout; what is left out is zero. */
export type FieldValues<L extends Layout<Fields>> = Partial<Values<L["fields"]>>;

/** A capability in somebody's configuration bytes. Offsets count from its header; past the end every bit reads as one. */
export interface CapabilityView {
  /** Where the capability stands in configuration space. */
  readonly at: number;
  /** Bytes between the capability's header and the end of what can be seen. */
  readonly available: number;
  /** Device/port type of the function's PCI Express capability, -1 without one. */
  readonly portType: number;
  /** Maximum link width of the function, 0 when it has no link. */
  readonly lanes: number;
  byte(offset: number): number;
  word(offset: number): number;
  dword(offset: number): number;
}

/** How to read one kind of capability. */
export interface CapabilityDefinition {
  readonly id: number;
  readonly extended: boolean;
  /** The registers that this very capability has; their number may depend on its contents. */
  shape(view: CapabilityView): CapabilityShape;
  /** What it says of itself beside its name: "Root Port", "MSI mapping". */
  type?(view: CapabilityView): string | undefined;
}
