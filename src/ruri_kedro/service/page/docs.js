"use strict";
// The operations of openapi.json, each with the fields of its request.

function make(tag, text, ...children) {
  const element = document.createElement(tag);
  element.append(text, ...children);
  return element;
}

function typeOf(schema, schemas) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(one, schemas)).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `list of ${typeOf(schema.items, schemas)}`;
  return "const" in schema ? JSON.stringify(schema.const) : schema.type ?? "any";
}

function fields(schema, schemas) {
  const required = schema.required ?? [];
  return Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const fallback = required.includes(name) ? "required" : `default ${JSON.stringify(field.default ?? null)}`;
    const about = field.description ? ` — ${field.description}` : "";
    return `${name}: ${typeOf(field, schemas)} (${fallback})${about}`;
  });
}

async function show() {
  const { paths, components } = await (await fetch("openapi.json")).json();
  const schemas = components.schemas;
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const reference = operation.requestBody?.content["application/json"].schema.$ref;
      const lines = reference ? fields(schemas[reference.split("/").pop()], schemas) : [];
      const parts = [make("h2", `${method.toUpperCase()} ${path}`), make("p", operation.description ?? "")];
      if (lines.length) parts.push(make("pre", lines.join("\n")));
      document.getElementById("operations").append(make("section", "", ...parts));
    }
  }
}

show();
