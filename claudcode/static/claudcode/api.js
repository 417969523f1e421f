// The reference of the management API. A file of its own, so that no page needs inline scripts.
const reference = document.getElementById("reference");
SwaggerUIBundle({
  url: reference.dataset.description,
  domNode: reference,
  deepLinking: true,
  // A token typed here lives in this tab and nowhere else.
  persistAuthorization: false,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
});
