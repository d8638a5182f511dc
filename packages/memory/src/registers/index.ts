export { ro, rsvdp, rsvdz, rw, rw1c, rw1s, sticky, wo, type FieldAccess, type FieldMaker, type RegisterField } from "./register-field.ts";
export { RegisterFile, type RegisterFileOptions, type ResetKind } from "./register-file.ts";
export { register, type Register, type RegisterFields, type RegisterOptions, type RegisterWidth } from "./register.ts";
