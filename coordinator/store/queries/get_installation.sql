-- get_installation: what all processes of the installation share.
SELECT cursor_secret FROM installation
