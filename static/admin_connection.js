// The form follows the type: another known type loads its form, keeping what was typed, never a secret.
"use strict";
document.addEventListener("change", (event) => {
  const input = event.target;
  if (!(input instanceof HTMLInputElement) || input.dataset.connectionType === undefined) return;
  const known = [...input.list.options].some((option) => option.value === input.value);
  if (!known) return;
  const query = new URLSearchParams({ conn_type: input.value });
  for (const name of ["conn_id", "description", "host", "port", "schema", "login", "team_name"]) {
    const field = input.form.elements.namedItem(name);
    if (field instanceof HTMLInputElement && field.value) query.set(name, field.value);
  }
  location.search = query.toString();
});
