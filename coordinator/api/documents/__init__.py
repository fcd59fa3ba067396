"""What the OpenAPI document says of each route, and the shapes of bodies; one module per resource."""
