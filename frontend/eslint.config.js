import tseslint from "typescript-eslint";

export default tseslint.config(...tseslint.configs.strict, {
  rules: {
    eqeqeq: ["error", "always", { null: "ignore" }],
    "no-restricted-properties": ["error", { property: "innerHTML", message: "Build DOM from text; markup comes from the server only." }],
    "@typescript-eslint/no-non-null-assertion": "off",
  },
});
