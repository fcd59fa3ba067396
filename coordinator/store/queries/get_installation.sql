-- get_installation: what all processes of the installation share.
SELECT secret FROM installation
