import { putBit } from "./status-bits.ts";
import type { Bus } from "./fabric.ts";

const CAPABILITIES = 0x02;
const SLOT_IMPLEMENTED = 0x100;
const LINK_CAPABILITIES = 0x0c;
const REPORTS_LINK_ACTIVE = 0x10_0000;
const LINK_CONTROL = 0x10;
const LINK_DISABLE = 0x10;
const LINK_STATUS = 0x12;
const LINK_ACTIVE = 13;
const SLOT_CONTROL = 0x18;
const SLOT_STATUS = 0x1a;
const PRESENCE_CHANGED = 3;
const PRESENCE = 6;
const LINK_STATE_CHANGED = 8;
const SlotEnable = { Presence: 0x08, Interrupt: 0x20, LinkState: 0x1000 } as const;

/**
 * Shows in the port above a link whether something is plugged in. PCIe §6.7 "PCI Express Native Hot-Plug Support":
 * Presence Detect State and Data Link Layer Link Active follow; with `event` also their "changed" bits, and the port's interrupt if enabled.
 */
export const linkChanged = (bus: Bus, event: boolean): void => {
  const { bridge } = bus;
  if (!bridge || bus.kind !== "link" || !bridge.places.express) return;
  const { config } = bridge.fn;
  const express = bridge.places.express;
  const present = bus.functions().length > 0;
  const active = present && !(config.read(express + LINK_CONTROL, 2) & LINK_DISABLE);
  if (config.read(express + LINK_CAPABILITIES, 4) & REPORTS_LINK_ACTIVE) putBit(config, express + LINK_STATUS, LINK_ACTIVE, active);
  if (!(config.read(express + CAPABILITIES, 2) & SLOT_IMPLEMENTED)) return;
  putBit(config, express + SLOT_STATUS, PRESENCE, present);
  if (!event) return;
  putBit(config, express + SLOT_STATUS, PRESENCE_CHANGED, true);
  putBit(config, express + SLOT_STATUS, LINK_STATE_CHANGED, true);
  const control = config.read(express + SLOT_CONTROL, 2);
  if (control & SlotEnable.Interrupt && control & (SlotEnable.Presence | SlotEnable.LinkState)) bridge.port.raiseOwnInterrupt();
};
